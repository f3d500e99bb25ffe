"""Quarantine: refuse requests that crash their workers, for a while.

A request is known by its fingerprint. When a worker crashes or hangs, each request that
ran in it gets a crash record; a request that runs to its end loses it. After two crashes
a request is refused, unless another request was there each time, which may be the
cause as well: then the next crash shows which one it is.
Times come in as arguments, in seconds of any clock that does not jump.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from gateway.errors import Quarantined

_KEY = secrets.token_bytes(32)
"""Of this process. Whoever reads a digest, in `/status` or a log, cannot try prompts against it."""
CRASHES = 2
"""After so many crashes a request is refused."""
MAX_RECORDS = 256
"""The one whose last crash is the oldest is dropped first."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    binding: str
    model: str
    digest: str

    @classmethod
    def of(cls, binding: str, model: str, request: bytes) -> "Fingerprint":
        """`request` is all else that tells it from others: prompt and parameters."""
        return cls(binding, model, blake2b(request, digest_size=8, key=_KEY).hexdigest())


@dataclass(slots=True)
class CrashRecord:
    crashes: set[str] = field(default_factory=set)
    """Names of the workers that crashed with it."""
    how: str = ""
    """The last one's end."""
    crashed_at: float = 0.0
    refused: int = 0


class Quarantine:
    def __init__(self, time: float) -> None:
        """Seconds for which a request is refused after its last crash; 0 is never."""
        self._time = time
        self._records: dict[Fingerprint, CrashRecord] = {}

    def record_crash(
        self, fingerprints: Iterable[Fingerprint], worker: str, how: str, now: float
    ) -> None:
        """The worker of that name crashed while these ran in it; `how` is a sentence's end."""
        if not self._time:
            return
        self._forget(now)
        for each in set(fingerprints):
            record = self._records.pop(each, None) or CrashRecord()
            record.crashes.add(worker)
            record.how, record.crashed_at = how, now
            self._records[each] = record

    def clear(self, fingerprint: Fingerprint) -> None:
        """It ran to its end: its record is removed."""
        self._records.pop(fingerprint, None)

    def check(self, fingerprint: Fingerprint, now: float) -> None:
        """Raise Quarantined for a request that may not run."""
        self._forget(now)
        if not self.is_quarantined(fingerprint):
            return
        record = self._records[fingerprint]
        record.refused += 1
        why = (
            f"is refused for {record.crashed_at + self._time - now:.0f} s: "
            f"{len(record.crashes)} workers of the binding {fingerprint.binding} died with it, "
            f"the last one {record.how}"
        )
        raise Quarantined(f"this request {why}")

    def refusals(self, fingerprint: Fingerprint) -> int:
        """How often the request was refused."""
        record = self._records.get(fingerprint)
        return record.refused if record else 0

    def status(self, now: float) -> list[dict[str, Any]]:
        """For an operator: what is refused, and nothing of any prompt."""
        self._forget(now)
        return [
            {
                "fingerprint": each.digest,
                "binding": each.binding,
                "model": each.model,
                "deaths": len(record.crashes),
                "how": record.how,
                "refused": record.refused,
                "forgotten_in": round(record.crashed_at + self._time - now, 1),
            }
            for each, record in self._records.items()
            if self.is_quarantined(each)
        ]

    def is_quarantined(self, fingerprint: Fingerprint) -> bool:
        """Whether it, and no other request, may be the cause of all its crashes."""
        record = self._records.get(fingerprint)
        if not record or len(record.crashes) < CRASHES:
            return False
        return not any(
            record.crashes <= other.crashes
            for each, other in self._records.items()
            if each != fingerprint
        )

    def _forget(self, now: float) -> None:
        """Drop old records. They are in the order of their last crashes."""
        while self._records:
            first = next(iter(self._records))
            age = now - self._records[first].crashed_at
            if len(self._records) <= MAX_RECORDS and age < self._time:
                return
            del self._records[first]
