"""Which sequences are in the model's memory, and whose beginning can be shared?

Pure. A sequence's cells are those of its computed tokens. With one memory for
all, a beginning that another sequence has is shared by naming its cells once
more, so it costs neither time nor room. What finished stays, for its beginning,
until its name or its room is needed; the least recently used goes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

WORTH_WAITING = 32
"""Tokens that are computed in less time than another step takes to begin."""


@dataclass(eq=False, slots=True)
class Cells:
    """What one sequence has, or will have, in memory."""

    id: int
    tokens: list[int]
    computed: int = 0
    """Of the tokens, how many are in memory: always the first ones."""
    shared: int = 0
    """How many of these were there already, for another sequence."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new sequence goes, and what must be done to the memory first, in this order."""

    cells: Cells
    source: int | None
    """The sequence to share `cells.computed` tokens of; its own id if it goes on itself."""
    dropped: list[int] = field(default_factory=list)
    """Sequences to be removed."""


class Shelf:
    """The names of `size` sequences, taken by running ones and by finished ones.

    Of the finished ones at most `kept` tokens stay, and the last one in any case.
    """

    def __init__(self, size: int, kept: int) -> None:
        self.size = size
        self._kept = kept
        self._free = list(range(size - 1, -1, -1))
        self._running: list[Cells] = []
        self._finished: list[Cells] = []  # least recently used first

    @property
    def finished(self) -> int:
        return len(self._finished)

    def join(self, tokens: list[int], most: int) -> Place:
        """Share at most `most` tokens: whoever wants logits must compute something."""
        source, shared = self._longest(tokens, most)
        if source in self._finished:
            self._finished.remove(source)
            if shared == source.computed:  # all of it is in the new one as well
                return self._placed(source.id, tokens, shared, source.id)
            self._finished.append(source)
        dropped = []
        if not self._free:
            oldest = self._finished.pop(0)
            if oldest is source:
                return self._placed(source.id, tokens, shared, source.id)
            self._free.append(oldest.id)
            dropped.append(oldest.id)
        return self._placed(
            self._free.pop(), tokens, shared, source.id if shared else None, dropped
        )

    def promises(self, tokens: list[int], most: int) -> bool:
        """A running sequence will soon have much more to share than anybody has now."""
        _, now = self._longest(tokens, most)
        soon = max((common(c.tokens, tokens, most) for c in self._running), default=0)
        return soon >= now + WORTH_WAITING

    def _placed(
        self,
        id: int,
        tokens: list[int],
        shared: int,
        source: int | None,
        dropped: Sequence[int] = (),
    ) -> Place:
        cells = Cells(id, tokens, shared, shared)
        self._running.append(cells)
        return Place(cells, source, list(dropped))

    def leave(self, cells: Cells, *, keep: bool = True) -> bool:
        """The sequence is over; False if nothing of it stays, and its cells are to be removed."""
        self._running.remove(cells)
        del cells.tokens[cells.computed :]
        if keep and cells.computed:
            self._finished.append(cells)
            return True
        self._free.append(cells.id)
        return False

    def drop_surplus(self) -> int | None:
        """A sequence to remove because too much is kept; call again until it is None."""
        if len(self._finished) < 2:
            return None
        own = sum(cells.computed - min(cells.shared, cells.computed) for cells in self._finished)
        return self.drop_oldest() if own > self._kept else None

    def drop_oldest(self) -> int | None:
        """The sequence to remove so that there is room; None if nothing is left to drop."""
        if not self._finished:
            return None
        oldest = self._finished.pop(0)
        self._free.append(oldest.id)
        return oldest.id

    def _longest(self, tokens: list[int], most: int) -> tuple[Cells, int]:
        best, length = Cells(-1, []), 0
        for cells in (*self._finished, *self._running):
            shared = common(cells.tokens, tokens, min(cells.computed, most))
            if shared > length or shared == length > 0:  # of equals the most recent
                best, length = cells, shared
        return best, length


def common(a: list[int], b: list[int], most: int) -> int:
    """How many of the first `most` tokens are the same."""
    most = min(most, len(a), len(b))
    start, stride = 0, 256
    while start < most and a[start : start + stride] == b[start : start + stride]:
        start += stride
    while start < most and a[start] == b[start]:
        start += 1
    return min(start, most)
