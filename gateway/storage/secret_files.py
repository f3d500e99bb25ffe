"""Secrets in files that only their owner can read: one for the workers of each binding."""

import logging
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from protocol.run_folder import secret_file, secrets_folder

log = logging.getLogger(__name__)

SECRET_BYTES = 16


class HelloSecrets:
    """What workers say in Hello. A worker in its sandbox can read the secret of its own binding
    only, so it cannot say Hello as another one."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._secrets: dict[str, str] = {}

    def get(self, binding: str) -> str:
        """The secret of a binding; "" if it has none."""
        return self._secrets.get(binding, "")

    def create(self, binding: str) -> bool:
        """Create the secret of a binding. Return whether it had none.

        `binding` is a plain name: see `is_plain`.
        """
        if binding in self._secrets:
            return False
        try:
            folder = secrets_folder(self._run)
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)  # a worker may have created it
            self._secrets[binding] = new_secret(secret_file(self._run, binding))
        except OSError as error:  # its workers are refused until it can be written
            log.error("no worker of the binding %s can join: %s", binding, error)
            return False
        return True

    def clear(self) -> None:
        """Remove all secrets. Their folders stay: the sandboxes of running workers know them."""
        self._secrets.clear()
        for left in secrets_folder(self._run).glob("*/secret"):
            left.unlink(missing_ok=True)


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
