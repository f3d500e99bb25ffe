"""Requests that wait for one model: generations in fair order, and others that need no slot."""

from collections import OrderedDict
from collections.abc import Iterator

from gateway.scheduling.fair_queue import FairQueue
from gateway.scheduling.turns import Waiter

_MARKS = ("insist", "remote_only", "patient_until")
"""Attributes of requests, of which the queue knows how many have them."""


class ModelQueue:
    def __init__(self) -> None:
        self.generations: FairQueue[Waiter] = FairQueue()
        self.others: OrderedDict[Waiter, None] = OrderedDict()
        self._full_since: float | None = None
        self._marks = dict.fromkeys(_MARKS, 0)  # how many requests have each

    @property
    def insists(self) -> bool:
        """Some request ignores open circuits."""
        return self._marks["insist"] > 0

    @property
    def remote_only(self) -> bool:
        return self._marks["remote_only"] > 0

    @property
    def patient(self) -> bool:
        """All requests wait for a worker that may come by itself."""
        return self._marks["patient_until"] == len(self)

    def note_served(self, now: float) -> None:
        """The workers that serve the model have taken what they can."""
        if not self.generations:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now

    def full_for(self, now: float) -> float:
        """Seconds that generations have been waiting although workers serve the model."""
        return 0.0 if self._full_since is None else now - self._full_since

    def add(self, waiter: Waiter) -> None:
        self._mark(waiter, 1)
        if not waiter.slot:
            self.others[waiter] = None
        elif waiter.first:
            self.generations.push_front(waiter, waiter.owner, waiter.session)
        else:
            self.generations.push(waiter, waiter.owner, waiter.session)

    def remove(self, waiter: Waiter) -> None:
        """Remove it, if it waits."""
        if waiter in self:
            self._mark(waiter, -1)
            self.generations.remove(waiter)
            self.others.pop(waiter, None)

    def pop(self) -> Waiter:
        """The next generation."""
        waiter = self.generations.pop()
        self._mark(waiter, -1)
        return waiter

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self.others or waiter in self.generations

    def __len__(self) -> int:
        return len(self.generations) + len(self.others)

    def __iter__(self) -> Iterator[Waiter]:
        """The others first, then the generations in their order."""
        yield from self.others
        yield from self.generations

    def _mark(self, waiter: Waiter, step: int) -> None:
        for mark in _MARKS:
            if getattr(waiter, mark):
                self._marks[mark] += step
