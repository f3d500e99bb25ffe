"""A virtual clock: events in the order of their times."""

import heapq
import itertools
from collections.abc import Callable


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.events = 0
        """That have happened."""
        self._coming: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        heapq.heappush(self._coming, (self.now + seconds, next(self._numbers), event))

    def step(self) -> bool:
        """Let the next event happen. Return whether there was one."""
        if not self._coming:
            return False
        self.now, _, event = heapq.heappop(self._coming)
        self.events += 1
        event()
        return True

    def run(self, until: float) -> None:
        while self._coming and self._coming[0][0] <= until:
            self.step()
        self.now = max(self.now, until)
