"""How is something logged that strangers can set off as often as they like?"""

import logging
import time


class Seldom:
    """At most one line a second; the next one says how many were left out."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said_at = float("-inf")
        self._unsaid = 0

    def warning(self, text: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._said_at < 1.0:
            self._unsaid += 1
            return
        if self._unsaid:
            text, values = f"{text} (and %d more like it)", (*values, self._unsaid)
        self._log.warning(text, *values)
        self._said_at, self._unsaid = now, 0
