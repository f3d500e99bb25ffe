"""How can only one process at a time hold something in the run folder?"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Taken(Exception):
    """Somebody else holds it, and nothing has changed."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock, and remove the file afterwards. The kernel ends the lock of a
    process that dies; the file that it leaves behind is no lock."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise BlockingIOError  # its last owner removed it a moment ago
    except BlockingIOError:
        os.close(descriptor)
        raise Taken from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
