"""Circuit breakers: leave alone what failed to start or load, longer each time.

A binding whose processes die before they say Hello, and a model that does not load,
are not tried again and again: an open circuit answers at once with what went wrong. It stays
open for twice as long after each further failure, and closes when a try succeeds.
Times come in as arguments, in seconds of any clock that does not jump.
"""

from dataclasses import dataclass
from typing import Any

LONGEST = 300.0
MOST = 256
"""Circuits that are remembered; the one that failed longest ago goes first."""

Key = tuple[str, str]
"""Binding and model; for what starts a process, whatever the model, that is ""."""


@dataclass(slots=True)
class Circuit:
    binding: str
    model: str
    error: str
    since: float
    """The first of the failures in a row."""
    again: float
    """When the next try is worth it."""
    barred: bool = False
    """A try costs a process: none for somebody who just asks for an answer."""
    failures: int = 1

    def status(self, now: float) -> dict[str, Any]:
        """For an operator."""
        return {
            "binding": self.binding,
            "model": self.model,
            "error": self.error,
            "failures": self.failures,
            "open_for": round(now - self.since, 1),
            "next_try_in": round(max(0.0, self.again - now), 1),
        }


class CircuitBreaker:
    def __init__(self) -> None:
        self._failed: dict[Key, Circuit] = {}

    def failed(self, key: Key, error: str, now: float, hold: float, *, barred: bool) -> bool:
        """`hold` is how long the first failure keeps it open; whether something else than the
        last time went wrong."""
        before = self._failed.pop(key, None)
        circuit = Circuit(*key, error, now, now + hold, barred)
        if before:
            circuit.failures = before.failures + 1
            circuit.since = before.since
            circuit.again = now + min(LONGEST, hold * 2.0 ** min(before.failures, 16))
        self._failed[key] = circuit
        while len(self._failed) > MOST:
            del self._failed[next(iter(self._failed))]
        return not before or before.error != error

    def close(self, key: Key) -> None:
        """It works, or is to be tried in any case."""
        self._failed.pop(key, None)

    def barred(self, key: Key, now: float) -> str:
        """The same, for who just asks for an answer: most things may be tried for that."""
        circuit = self._failed.get(key)
        return self.open(key, now) if circuit and circuit.barred else ""

    def error(self, key: Key) -> str:
        """What went wrong the last time; "" when nothing did."""
        circuit = self._failed.get(key)
        return circuit.error if circuit else ""

    def open(self, key: Key, now: float) -> str:
        """Why not to try, in one sentence; "" when a try is worth it."""
        circuit = self._failed.get(key)
        if not circuit or now >= circuit.again:
            return ""
        what = "model" if circuit.model else "binding"
        seconds = f"{circuit.again - now:.0f} s"
        return f"{circuit.error}; the next try is in {seconds}, or when the {what} is selected"

    def spared(self, binding: str, model: str, now: float) -> bool:
        """Whether nobody should try it unasked."""
        return any(self.open((binding, each), now) for each in ("", model))

    def status(self, now: float) -> list[dict[str, Any]]:
        """What failed and has not worked since."""
        return [circuit.status(now) for circuit in self._failed.values()]
