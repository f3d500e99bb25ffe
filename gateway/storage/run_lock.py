"""Locks in the run folder, for one gateway and one launcher; the handshake secret."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import CannotStart
from protocol.run_folder import lock_file, secret_file, workers_address


class LockHeld(Exception):
    """Another process holds the lock. Nothing has changed."""


@contextmanager
def run_lock(run: Path) -> Iterator[str]:
    """Hold the run folder; yield this gateway's new secret, which only its owner can read.

    Without the lock, libzmq would let a second gateway take over the first one's workers
    silently. Raise CannotStart when another gateway holds it.
    """
    try:
        with file_lock(lock_file(run)):
            try:
                yield new_secret(secret_file(run))
            finally:
                socket = workers_address(run).removeprefix("ipc://")  # libzmq leaves it behind
                for left in (secret_file(run), Path(socket)):
                    left.unlink(missing_ok=True)
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


def new_secret(path: Path) -> str:
    """Write a random secret to a new file that only its owner can read."""
    secret = secrets.token_hex(16)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    return secret
