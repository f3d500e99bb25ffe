"""Pace connects: many at once are served, a flood waits, and is refused when that is long."""

BURST, RATE = 500, 100.0
"""Connects at once of one owner, and per second after these."""
CONNECTION_BURST, CONNECTION_RATE = 20, 2.0
"""The same for one connection: a client may open a session and leave it, again and again."""
PATIENCE = 5.0
"""Seconds that a connect may wait; less than the time in which a connection needs a session."""
FORGET_AT = 1024
"""Keys beyond which those that have no effect any more are forgotten."""


class Pacing:
    """A token bucket for each key, as the time at which it is full again."""

    def __init__(self, burst: int, rate: float, patience: float = PATIENCE) -> None:
        self._burst_seconds = (burst - 1) / rate
        self._period = 1 / rate
        self._patience = patience
        self._full_at: dict[str, float] = {}
        self._forget_at = FORGET_AT

    def wait(self, key: str, now: float) -> float | None:
        """Seconds until it may go on; None when it is refused, and not counted."""
        full_at = max(now, self._full_at.get(key, now))
        seconds = max(0.0, full_at - now - self._burst_seconds)
        if seconds > self._patience:
            return None
        self._full_at[key] = full_at + self._period
        if len(self._full_at) > self._forget_at:
            self._full_at = {each: at for each, at in self._full_at.items() if at > now}
            self._forget_at = max(FORGET_AT, 2 * len(self._full_at))
        return seconds
