"""Which session is evicted next when too much is kept: the one that loses the least.

All sessions share one limit in bytes, the absent ones another by their number. What goes first:

1. an absent session that has nothing to lose, the one that left first;
2. from the owner with the largest share: its absent session without a running answer, the one
   that left first; else, when bytes are short, a discussion of its largest connected session;
3. an absent session whose answer is running, of the owner with the largest share of those.

So whoever floods the server loses only its own, once it has more than everybody else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

MAX_AWAY = 1000
"""Sessions that are kept without a client."""
MAX_BYTES = 128 * 2**20
"""Of what is kept for all sessions: discussions, ended answers, and what runs for absent ones."""
OVERHEAD = 4096
"""Bytes of an absent session without any text."""


class Kind(StrEnum):
    """What a session would lose. The values are labels of a metric."""

    NOTHING = "nothing"
    """It is absent, and its client would miss nothing."""
    ENDED = "ended"
    """It is absent, and has an ended answer, discussions or a selection."""
    RUNNING = "running"
    """It is absent, and its answer runs or waits."""
    CONNECTED = "connected"
    """It has a client. It is never evicted; it may lose its oldest texts."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for one session."""

    owner: str
    kind: Kind
    bytes: int
    """Of a connected session only those that can be taken from it."""


@dataclass(slots=True)
class _Share:
    """What is kept for one owner: sessions of each kind, in the order in which they became so."""

    bytes: int = 0
    of: dict[Kind, dict[str, int]] = field(default_factory=lambda: {kind: {} for kind in Kind})

    @property
    def absent(self) -> int:
        return sum(len(self.of[kind]) for kind in Kind if kind != Kind.CONNECTED)


class Retention:
    """Sessions go by their tokens."""

    def __init__(self, max_away: int = MAX_AWAY, max_bytes: int = MAX_BYTES) -> None:
        self._max_away = max_away
        self._max_bytes = max_bytes
        self._kept: dict[str, Kept] = {}
        self._shares: dict[str, _Share] = {}
        self._nothing: dict[str, None] = {}  # of all owners, in the order of their leaving
        self.bytes = 0
        """Of all sessions."""
        self.away = 0
        """Absent sessions."""
        self.away_bytes = 0

    def keep(self, token: str, kept: Kept) -> None:
        """Add a session, or change what is kept for it."""
        before = self._kept.get(token)
        if before and (before.owner, before.kind) == (kept.owner, kept.kind):
            self._count(before, -1)
        elif before:
            self.forget(token)
        self._kept[token] = kept
        share = self._shares.setdefault(kept.owner, _Share())
        share.of[kept.kind][token] = kept.bytes  # a known one keeps its place
        if kept.kind == Kind.NOTHING:
            self._nothing[token] = None
        self._count(kept, 1)

    def forget(self, token: str) -> None:
        kept = self._kept.pop(token, None)
        if kept is None:
            return
        self._count(kept, -1)
        self._nothing.pop(token, None)
        share = self._shares[kept.owner]
        del share.of[kept.kind][token]
        if not any(share.of.values()):
            del self._shares[kept.owner]

    def excess(self) -> tuple[str, Kind] | None:
        """The next session to evict and its kind, or a connected one to take texts from; None
        when nothing is too much, or nothing can go."""
        short_of_bytes = self.bytes > self._max_bytes
        if self.away <= self._max_away and not short_of_bytes:
            return None
        if self._nothing:
            return next(iter(self._nothing)), Kind.NOTHING

        def size(share: _Share) -> int:
            return share.bytes if short_of_bytes else share.absent

        for share in sorted(self._shares.values(), key=size, reverse=True):
            if ended := share.of[Kind.ENDED]:
                return next(iter(ended)), Kind.ENDED
            connected = share.of[Kind.CONNECTED]
            if short_of_bytes and any(connected.values()):
                return max(connected, key=connected.__getitem__), Kind.CONNECTED
        return self._oldest_running(size)

    def _oldest_running(self, size: Callable[[_Share], int]) -> tuple[str, Kind] | None:
        shares = [share for share in self._shares.values() if share.of[Kind.RUNNING]]
        if not shares:
            return None
        return next(iter(max(shares, key=size).of[Kind.RUNNING])), Kind.RUNNING

    def _count(self, kept: Kept, sign: int) -> None:
        self.bytes += sign * kept.bytes
        self._shares[kept.owner].bytes += sign * kept.bytes
        if kept.kind != Kind.CONNECTED:
            self.away += sign
            self.away_bytes += sign * kept.bytes
