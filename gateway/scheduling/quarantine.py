"""Which request kills its workers, and is refused from now on? (pure)

A request is known by its fingerprint. When a worker dies or is ended because it
hangs, all that ran in it are suspects; who then runs to its end is none any more.
A suspect of two deaths is refused, unless somebody else was there each time, who may
have been the cause as well: then the next death tells the two apart.
Times come in as arguments, in seconds of any clock that does not jump.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from gateway.errors import Quarantined

log = logging.getLogger(__name__)

DEATHS = 2
"""Of this many workers a request may be the cause; then it is refused."""
MOST = 256
"""Suspects that are remembered; the one whose worker died longest ago goes first."""


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
class Suspect:
    deaths: set[str] = field(default_factory=set)
    """Names of the workers that died with it."""
    how: str = ""
    """The last one's end."""
    at: float = 0.0
    refused: int = 0


class Poison:
    def __init__(self, time: float) -> None:
        """Seconds for which a request is refused after its last death; 0 is never."""
        self._time = time
        self._suspects: dict[Fingerprint, Suspect] = {}

    def blame(self, prints: Iterable[Fingerprint], worker: str, how: str, now: float) -> None:
        """The worker of that name ended while these ran in it."""
        if not self._time:
            return
        self._forget(now)
        for each in set(prints):
            suspect = self._suspects.pop(each, None) or Suspect()
            suspect.deaths.add(worker)
            suspect.how, suspect.at = how, now
            self._suspects[each] = suspect

    def acquit(self, fingerprint: Fingerprint) -> None:
        """It ran to its end."""
        self._suspects.pop(fingerprint, None)

    def check(self, fingerprint: Fingerprint, now: float) -> None:
        """Raise Quarantined for what may not run."""
        self._forget(now)
        if not self.convicts(fingerprint):
            return
        suspect = self._suspects[fingerprint]
        suspect.refused += 1
        why = (
            f"is refused for {suspect.at + self._time - now:.0f} s: {len(suspect.deaths)} workers "
            f"of the binding {fingerprint.binding} died with it, the last one {suspect.how}"
        )
        if suspect.refused == 1:
            log.warning("request %s to %s %s", fingerprint.digest, fingerprint.model, why)
        raise Quarantined(f"this request {why}")

    def status(self, now: float) -> list[dict[str, Any]]:
        """For an operator: what is refused, and nothing of any prompt."""
        self._forget(now)
        return [
            {
                "fingerprint": each.digest,
                "binding": each.binding,
                "model": each.model,
                "deaths": len(suspect.deaths),
                "how": suspect.how,
                "refused": suspect.refused,
                "forgotten_in": round(suspect.at + self._time - now, 1),
            }
            for each, suspect in self._suspects.items()
            if self.convicts(each)
        ]

    def convicts(self, fingerprint: Fingerprint) -> bool:
        """Whether it, and nobody else, may be the cause of what happened."""
        suspect = self._suspects.get(fingerprint)
        if not suspect or len(suspect.deaths) < DEATHS:
            return False
        return not any(
            suspect.deaths <= other.deaths
            for each, other in self._suspects.items()
            if each != fingerprint
        )

    def _forget(self, now: float) -> None:
        """They are in the order of their last deaths."""
        while self._suspects:
            first = next(iter(self._suspects))
            if len(self._suspects) <= MOST and now - self._suspects[first].at < self._time:
                return
            del self._suspects[first]
