"""List the model files that a worker on another machine has, for its Hello."""

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from protocol.codec import MAX_MODELS
from protocol.model_files import is_model, may_be_listed

log = logging.getLogger(__name__)

MAX_LISTED_BYTES = 2**15
"""Bytes of names and sizes in a Hello: half of what a gateway accepts."""
SIZE_BYTES = 12
"""Of one size and what separates it from the next name."""


class ModelsFolder:
    """The folder, as it is at each call of `list`; it need not exist."""

    def __init__(self, folder: Path, card: Mapping[str, Any]) -> None:
        """`card` is that of the binding."""
        self._folder = folder
        self._card = card
        self._warned = False

    def list(self) -> dict[str, int]:
        """Name and size of each model, by name; within the limits of a Hello."""
        found: dict[str, int] = {}
        room = MAX_LISTED_BYTES
        for name in self._names():
            size = _size(self._folder / name)
            if size is None:
                continue
            room -= len(name.encode()) + SIZE_BYTES
            if room < 0 or len(found) == MAX_MODELS:
                self._warn(len(found))
                break
            found[name] = size
        return found

    def _names(self) -> Iterator[str]:
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            return
        for name in names:
            if is_model(name, self._card) and may_be_listed(name):
                yield name

    def _warn(self, listed: int) -> None:
        if not self._warned:
            log.warning("only the first %d models are offered to the gateway", listed)
            self._warned = True


def _size(path: Path) -> int | None:
    """None if it is no regular file, or the sandbox does not let this process read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return status.st_size if stat.S_ISREG(status.st_mode) else None
