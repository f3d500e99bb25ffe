"""Whose is the run folder? One gateway's at a time, and it cleans up behind itself."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import CannotStart
from gateway.storage.file_lock import Taken, locked
from protocol.run_folder import lock_file, secret_file, workers_address


@contextmanager
def claimed(run: Path) -> Iterator[str]:
    """Hold the run folder; yields this gateway's secret, which only its owner can read.

    The lock is there because libzmq would let a second gateway steal the first one's
    workers without a word. Raise CannotStart when another one holds it.
    """
    try:
        with locked(lock_file(run)):
            try:
                yield new_secret(secret_file(run))
            finally:
                socket = workers_address(run).removeprefix("ipc://")  # libzmq leaves it behind
                for left in (secret_file(run), Path(socket)):
                    left.unlink(missing_ok=True)
    except Taken:
        raise CannotStart(f"another gateway uses the run folder {run}") from None


def new_secret(path: Path) -> str:
    """Written to a new file that only its owner can read."""
    secret = secrets.token_hex(16)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    return secret
