"""Locks in the run folder, for one gateway and one launcher."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import CannotStart
from gateway.storage.secret_files import HelloSecrets
from protocol.run_folder import lock_file, workers_address


class LockHeld(Exception):
    """Another process holds the lock. Nothing has changed."""


@contextmanager
def run_lock(run: Path) -> Iterator[HelloSecrets]:
    """Hold the run folder; yield the secrets of this gateway's workers, of which there are none
    yet. They end with the block.

    Without the lock, libzmq would let a second gateway take over the first one's workers
    silently. Raise CannotStart when another gateway holds it.
    """
    try:
        with file_lock(lock_file(run)):
            hello = HelloSecrets(run)
            try:
                yield hello
            finally:
                hello.clear()
                socket = workers_address(run).removeprefix("ipc://")  # libzmq leaves it behind
                Path(socket).unlink(missing_ok=True)
    except LockHeld:
        raise CannotStart(f"another gateway uses the run folder {run}") from None


@contextmanager
def launch_lock(run: Path) -> Iterator[None]:
    """Hold the lock of `make run`, against two that start at once. Raise CannotStart."""
    try:
        with file_lock(run / "launch.lock"):
            yield
    except LockHeld:
        raise CannotStart(f"another server is starting or stopping in {run}") from None


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Lock the file, and remove it afterwards. Raise LockHeld.

    The kernel releases the lock of a process that dies; its file stays, and does not lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise BlockingIOError  # its last owner removed it a moment ago
    except BlockingIOError:
        os.close(descriptor)
        raise LockHeld from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
