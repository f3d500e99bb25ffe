"""Secrets in files that only their owner can read: one for the workers of each binding."""

import logging
import os
import secrets
from pathlib import Path

from protocol.run_folder import secret_file, secrets_folder

log = logging.getLogger(__name__)


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
    """Write a random secret to a new file that only its owner can read."""
    secret = secrets.token_hex(16)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    return secret
