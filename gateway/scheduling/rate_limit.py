"""Does one client ask faster than it may? A second's worth at once, and that again every second."""

import time


class Pace:
    def __init__(self, rate: int) -> None:
        """Events a second; 0 is no limit."""
        self._rate = rate
        self._left = float(rate)
        self._at = time.monotonic()

    def admits(self) -> bool:
        """One more, now."""
        if not self._rate:
            return True
        now = time.monotonic()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
