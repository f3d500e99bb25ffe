"""Redirect llama.cpp's log to Python's logging, and keep its last errors.

They become part of the error that a client gets, because llama.cpp reports the reason
why a load failed only in its log. So it does how it stored the weights.
"""

import ctypes
import logging
import re
from typing import Any

from .native import api

log = logging.getLogger("llama.cpp")

LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.DEBUG, 4: logging.WARNING}
"""ggml's levels; 5 continues the line before. Its warnings (3) are mere notes, about six per
load, so they are logged as DEBUG."""
CONTINUED = 5
ABORTED = "failed with error 1", "compute status: 1", "ret = 2"
"""How the error lines end that llama.cpp logs for a step that we aborted."""

STORED = re.compile(rb"(\S+) model buffer size = +(\d+\.\d+) MiB")
"""A buffer of weights, and its size."""
MAPPED = b"_Mapped"
"""How the names of buffers end that are the mapped file."""


class _LogReceiver:
    def __init__(self) -> None:
        self.errors: list[str] = []
        self.copied = 0
        self._line = ""
        self._level = logging.DEBUG

    def receive(self, level: int, text: bytes, _: Any) -> None:
        """Called by llama.cpp from any of its threads; must not raise."""
        if stored := STORED.search(text):
            buffer, size = stored.groups()
            self.copied += 0 if buffer.endswith(MAPPED) else int(float(size) * 2**20)
        if level != CONTINUED:
            self._level = LEVELS.get(level, logging.DEBUG)
        if self._level < logging.WARNING and not log.isEnabledFor(logging.DEBUG):
            return
        self._line += text.decode(errors="replace")
        if not self._line.endswith("\n"):
            return
        line, self._line = self._line.strip(), ""
        if line.endswith(ABORTED):
            log.debug("%s", line)
        elif line:
            log.log(self._level, "%s", line)
            if self._level >= logging.WARNING:
                self.errors = [*self.errors[-7:], line]


_receiver = _LogReceiver()
_callback = api.llama_log_callback(_receiver.receive)  # kept alive: llama.cpp has only its address


def redirect() -> None:
    """From now on llama.cpp logs through Python's logging. Once is enough."""
    api.llama_log_set(_callback, ctypes.c_void_p(0))


def clear_errors() -> None:
    """Call before an operation of which `first_error` or `copied_weights` is to report."""
    _receiver.errors, _receiver.copied = [], 0


def copied_weights() -> int:
    """Bytes of weights that llama.cpp did not leave in the mapped file, since `clear_errors`: on a
    GPU, or rearranged for the processor."""
    return _receiver.copied


def first_error(default: str) -> str:
    """The first error since `clear_errors` is the cause, later ones are consequences."""
    for line in _receiver.errors:
        _, _, text = line.rpartition(": error loading model: ")
        return text.removeprefix("llama_model_load").strip(": ") or default
    return default
