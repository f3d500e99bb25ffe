"""Quarantine: refuse requests that crash their workers, for a while.

A request is known by its fingerprint. When a worker crashes or hangs, each request that
ran in it gets an entry; a request that then runs to its end loses it. After two crashes
a request is refused, unless another request was there each time, which may be the
cause as well: then the next crash tells the two apart.
Times come in as arguments, in seconds of any clock that does not jump.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from gateway.errors import Quarantined

CRASHES = 2
"""After this many a request is refused."""
MOST = 256
"""Entries that are kept; the one whose last crash is the oldest goes first."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    binding: str
    model: str
    digest: str

    @classmethod
    def of(cls, binding: str, model: str, request: bytes) -> "Fingerprint":
        """`request` is all else that tells it from others: prompt and parameters."""
        return cls(binding, model, blake2b(request, digest_size=8).hexdigest())


@dataclass(slots=True)
class Entry:
    crashes: set[str] = field(default_factory=set)
    """Names of the workers that crashed with it."""
    how: str = ""
    """The last one's end."""
    at: float = 0.0
    refused: int = 0


class Quarantine:
    def __init__(self, time: float) -> None:
        """Seconds for which a request is refused after its last crash; 0 is never."""
        self._time = time
        self._entries: dict[Fingerprint, Entry] = {}

    def record_crash(
        self, prints: Iterable[Fingerprint], worker: str, how: str, now: float
    ) -> None:
        """The worker of that name crashed while these ran in it; `how` is a sentence's end."""
        if not self._time:
            return
        self._forget(now)
        for each in set(prints):
            entry = self._entries.pop(each, None) or Entry()
            entry.crashes.add(worker)
            entry.how, entry.at = how, now
            self._entries[each] = entry

    def clear(self, fingerprint: Fingerprint) -> None:
        """It ran to its end: its entry is removed."""
        self._entries.pop(fingerprint, None)

    def check(self, fingerprint: Fingerprint, now: float) -> None:
        """Raise Quarantined for a request that may not run."""
        self._forget(now)
        if not self.is_quarantined(fingerprint):
            return
        entry = self._entries[fingerprint]
        entry.refused += 1
        why = (
            f"is refused for {entry.at + self._time - now:.0f} s: {len(entry.crashes)} workers "
            f"of the binding {fingerprint.binding} died with it, the last one {entry.how}"
        )
        raise Quarantined(f"this request {why}")

    def refusals(self, fingerprint: Fingerprint) -> int:
        """How often the request was refused."""
        entry = self._entries.get(fingerprint)
        return entry.refused if entry else 0

    def status(self, now: float) -> list[dict[str, Any]]:
        """For an operator: what is refused, and nothing of any prompt."""
        self._forget(now)
        return [
            {
                "fingerprint": each.digest,
                "binding": each.binding,
                "model": each.model,
                "deaths": len(entry.crashes),
                "how": entry.how,
                "refused": entry.refused,
                "forgotten_in": round(entry.at + self._time - now, 1),
            }
            for each, entry in self._entries.items()
            if self.is_quarantined(each)
        ]

    def is_quarantined(self, fingerprint: Fingerprint) -> bool:
        """Whether it, and no other request, may be the cause of all its crashes."""
        entry = self._entries.get(fingerprint)
        if not entry or len(entry.crashes) < CRASHES:
            return False
        return not any(
            entry.crashes <= other.crashes
            for each, other in self._entries.items()
            if each != fingerprint
        )

    def _forget(self, now: float) -> None:
        """They are in the order of their last crashes."""
        while self._entries:
            first = next(iter(self._entries))
            if len(self._entries) <= MOST and now - self._entries[first].at < self._time:
                return
            del self._entries[first]
