"""Locks in the run folder, for one gateway and one launcher; the handshake secret."""

import fcntl
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.errors import CannotStart
from protocol.run_folder import lock_file, secret_file, workers_address

log = logging.getLogger(__name__)

SECRET_BYTES = 16


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
    """Replace the file, which only its owner can read, by one with a new random secret.

    On a full disk the secret that a killed predecessor has left is used again: it is as
    secret as before. Raise OSError when there is none.
    """
    secret = secrets.token_hex(SECRET_BYTES)
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret)
        os.replace(new, path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        if left := _old_secret(path):
            log.warning("no new secret could be written to %s: %s", path, error.strerror)
            return left
        raise OSError(error.errno, error.strerror, str(path)) from None
    return secret


def _old_secret(path: Path) -> str:
    """A whole one that only its owner can read; "" if there is none."""
    with suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor) as file:
            status, text = os.fstat(descriptor), file.read(2 * SECRET_BYTES + 1)
        private = status.st_uid == os.getuid() and not status.st_mode & 0o077
        if private and re.fullmatch(f"[0-9a-f]{{{2 * SECRET_BYTES}}}", text):
            return text
    return ""
