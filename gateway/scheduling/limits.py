"""Limits of the request queue: a share for each owner, and a total."""

from collections import Counter, OrderedDict

from gateway.errors import Busy
from gateway.scheduling.policy import Policy
from gateway.scheduling.turns import Waiter
from gateway.workers.worker import Key

UNARY_WEIGHT = 0.25
"""A tokenize, detokenize or embed that waits counts as a quarter of a generation."""


class Limits:
    """Counts what waits. Generations that ran already are not counted."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._generations: dict[tuple[str, Key], OrderedDict[Waiter, None]] = {}
        """By owner and model, the oldest first. None is empty."""
        self._unary: Counter[str] = Counter()
        self.total = 0
        """Waiting generations."""

    def add(self, waiter: Waiter) -> None:
        if waiter.limited:
            place = waiter.owner, waiter.key
            self._generations.setdefault(place, OrderedDict())[waiter] = None
            self.total += 1

    def remove(self, waiter: Waiter) -> None:
        """It was added before."""
        if waiter.limited:
            self.total -= 1
            place = waiter.owner, waiter.key
            del self._generations[place][waiter]
            if not self._generations[place]:
                del self._generations[place]

    def exceeded_by(self, waiter: Waiter) -> bool:
        """Whether its owner has too much waiting, with this one."""
        mine = self._count(waiter.owner, waiter.key)
        return mine + UNARY_WEIGHT * self._unary[waiter.owner] > self._policy.max_queue

    @property
    def crowded(self) -> bool:
        """Whether too much waits, of all owners together."""
        return self.total > self._policy.max_waiting

    def newest_of_largest(self) -> Waiter:
        """The newest generation of the owner who has the most waiting for one model. It is
        looked for among the owners and models that wait, only while too much waits."""
        most = max(self._generations, key=lambda place: len(self._generations[place]))
        return next(reversed(self._generations[most]))

    def add_unary(self, owner: str, key: Key) -> None:
        """Raise Busy when its owner has too much waiting."""
        mine = self._count(owner, key) + UNARY_WEIGHT * (self._unary[owner] + 1)
        if mine > max(1, self._policy.max_queue):
            raise Busy
        self._unary[owner] += 1

    def remove_unary(self, owner: str) -> None:
        self._unary[owner] -= 1
        if not self._unary[owner]:
            del self._unary[owner]

    def _count(self, owner: str, key: Key) -> int:
        return len(self._generations.get((owner, key), ()))
