"""Limits of the request queue: a share for each owner, and a total."""

from collections import Counter

from gateway.errors import Busy
from gateway.scheduling.policy import Policy
from gateway.scheduling.turns import Waiter
from gateway.workers.fleet import Key

UNARY_WEIGHT = 0.25
"""A tokenize, detokenize or embed that waits counts as a quarter of a generation."""


class Limits:
    """Counts what waits. Generations that ran already are not counted."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._generations: Counter[tuple[str, Key]] = Counter()
        self._unary: Counter[str] = Counter()
        self.total = 0
        """Waiting generations."""

    def add(self, waiter: Waiter) -> None:
        if waiter.limited:
            self._generations[waiter.owner, waiter.key] += 1
            self.total += 1

    def remove(self, waiter: Waiter) -> None:
        """It was added before."""
        if waiter.limited:
            self.total -= 1
            place = waiter.owner, waiter.key
            self._generations[place] -= 1
            if not self._generations[place]:
                del self._generations[place]

    def exceeded_by(self, waiter: Waiter) -> bool:
        """Whether its owner has too much waiting, with this one."""
        mine = self._generations[waiter.owner, waiter.key]
        return mine + UNARY_WEIGHT * self._unary[waiter.owner] > self._policy.max_queue

    @property
    def crowded(self) -> bool:
        """Whether too much waits, of all owners together."""
        return self.total > self._policy.max_waiting

    def add_unary(self, owner: str, key: Key) -> None:
        """Raise Busy when its owner has too much waiting."""
        mine = self._generations[owner, key] + UNARY_WEIGHT * (self._unary[owner] + 1)
        if mine > max(1, self._policy.max_queue):
            raise Busy
        self._unary[owner] += 1

    def remove_unary(self, owner: str) -> None:
        self._unary[owner] -= 1
        if not self._unary[owner]:
            del self._unary[owner]

    def by_owner(self) -> Counter[str]:
        """Waiting generations."""
        found: Counter[str] = Counter()
        for (owner, _), count in self._generations.items():
            found[owner] += count
        return found
