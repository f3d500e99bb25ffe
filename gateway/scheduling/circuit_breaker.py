"""Circuit breakers: leave alone what failed to start or load, longer each time.

A binding whose processes die before they say Hello, or a model that does not load, is not
tried again at once: an open circuit answers requests with the last error. Each further
failure doubles the time that it stays open; a successful try closes it.
Times come in as arguments, in seconds of any clock that does not jump.
"""

from dataclasses import dataclass
from typing import Any

from gateway.errors import LoadFailed, NoWorker, RequestError
from gateway.workers.worker import Key

MAX_OPEN_SECONDS = 300.0
MAX_CIRCUITS = 256
"""Circuits that are remembered; the one that failed longest ago goes first."""


@dataclass(slots=True)
class Circuit:
    binding: str
    model: str
    error: str
    since: float
    """The first of the failures in a row."""
    retry_at: float
    """When the next try is allowed."""
    blocks_requests: bool = False
    """While it is open, requests are rejected: a try would cost a process. Otherwise only
    unrequested tries are left out."""
    failures: int = 1

    def status(self, now: float) -> dict[str, Any]:
        """For an operator."""
        return {
            "binding": self.binding,
            "model": self.model,
            "error": self.error,
            "failures": self.failures,
            "open_for": round(now - self.since, 1),
            "next_try_in": round(max(0.0, self.retry_at - now), 1),
        }


class CircuitBreaker:
    """One circuit for each model; and for each binding one, with the model "", for starts."""

    def __init__(self) -> None:
        self._circuits: dict[Key, Circuit] = {}

    def failed(
        self, key: Key, error: str, now: float, hold: float, *, blocks_requests: bool
    ) -> bool:
        """Open the circuit, for `hold` seconds after the first failure. Return whether the error
        is another than the last time."""
        before = self._circuits.pop(key, None)
        circuit = Circuit(*key, error, now, now + hold, blocks_requests)
        if before:
            circuit.failures = before.failures + 1
            circuit.since = before.since
            circuit.retry_at = now + min(MAX_OPEN_SECONDS, hold * 2.0 ** min(before.failures, 16))
        self._circuits[key] = circuit
        while len(self._circuits) > MAX_CIRCUITS:
            del self._circuits[next(iter(self._circuits))]
        return not before or before.error != error

    def close(self, key: Key) -> None:
        """A try succeeded."""
        self._circuits.pop(key, None)

    def open_for_requests(self, key: Key, now: float) -> str:
        """Like `open`, for a client's request: "" for most circuits, because a request is worth
        a try."""
        circuit = self._circuits.get(key)
        return self.open(key, now) if circuit and circuit.blocks_requests else ""

    def refusal(
        self, key: Key, now: float, *, start: bool, patient: bool = False
    ) -> RequestError | None:
        """The error for requests that need a load, or with `start` a new process. Who is patient
        waits for something better than a try that failed a moment ago."""
        why = self.open if patient else self.open_for_requests
        if start and (error := why((key[0], ""), now)):
            return NoWorker(error)
        error = why(key, now)
        return LoadFailed(error) if error else None

    def error(self, key: Key) -> str:
        """The last error; "" after a success."""
        circuit = self._circuits.get(key)
        return circuit.error if circuit else ""

    def open(self, key: Key, now: float) -> str:
        """Why there is no try now, in one sentence; "" when one is allowed."""
        circuit = self._circuits.get(key)
        if not circuit or now >= circuit.retry_at:
            return ""
        what = "model" if circuit.model else "binding"
        seconds = f"{circuit.retry_at - now:.0f} s"
        return f"{circuit.error}; the next try is in {seconds}, or when the {what} is selected"

    def any_open(self, binding: str, model: str, now: float) -> bool:
        """Whether the circuit of the binding or of the model is open."""
        return any(self.open((binding, each), now) for each in ("", model))

    def status(self, now: float) -> list[dict[str, Any]]:
        """Circuits whose last try failed."""
        return [circuit.status(now) for circuit in self._circuits.values()]
