"""Requests that wait for one model: generations in fair order, and others that need no slot."""

from collections import OrderedDict
from collections.abc import Iterator

from gateway.scheduling.fair_queue import FairQueue
from gateway.scheduling.turns import Waiter


class ModelQueue:
    def __init__(self) -> None:
        self.generations: FairQueue[Waiter] = FairQueue()
        self.others: OrderedDict[Waiter, None] = OrderedDict()
        self.full_since: float | None = None
        """Since when generations wait although workers serve the model."""

    def add(self, waiter: Waiter) -> None:
        if not waiter.slot:
            self.others[waiter] = None
        elif waiter.first:
            self.generations.push_front(waiter, waiter.owner, waiter.session)
        else:
            self.generations.push(waiter, waiter.owner, waiter.session)

    def remove(self, waiter: Waiter) -> None:
        """Silently nothing if it does not wait."""
        self.generations.remove(waiter)
        self.others.pop(waiter, None)

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self.others or waiter in self.generations

    def __len__(self) -> int:
        return len(self.generations) + len(self.others)

    def __iter__(self) -> Iterator[Waiter]:
        """The others first, then the generations in their order."""
        yield from self.others
        yield from self.generations
