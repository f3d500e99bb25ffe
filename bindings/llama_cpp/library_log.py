"""Where do llama.cpp's own words go?

To Python's logging, and the last complaint also into the error that somebody
sees: a load that fails says why only in its log.
"""

import ctypes
import logging
from typing import Any

from .native import api

log = logging.getLogger("llama.cpp")

LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.DEBUG, 4: logging.WARNING}
"""ggml's levels; 5 continues the line before. Its warnings are notes: half a dozen a load."""
CONTINUED = 5
ABORTED = "failed with error 1", "compute status: 1", "ret = 2"
"""How lines end that complain of a step which we cut short ourselves."""


class _Words:
    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._line = ""
        self._level = logging.DEBUG

    def hear(self, level: int, text: bytes, _: Any) -> None:
        """Called by llama.cpp, from whichever thread it is in; must not raise."""
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
                self.complaints = [*self.complaints[-7:], line]


_words = _Words()
_callback = api.llama_log_callback(_words.hear)  # kept: llama.cpp only has its address


def listen() -> None:
    """From now on llama.cpp speaks through logging. Once is enough."""
    api.llama_log_set(_callback, ctypes.c_void_p(0))


def forget() -> None:
    """What was said before has nothing to do with what comes now."""
    _words.complaints = []


def reason(default: str) -> str:
    """The first complaint since `forget`, which is the cause; those after it are consequences."""
    for line in _words.complaints:
        _, _, text = line.rpartition(": error loading model: ")
        return text.removeprefix("llama_model_load").strip(": ") or default
    return default
