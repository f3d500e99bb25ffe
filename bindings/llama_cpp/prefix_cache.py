"""Which sequences are known, and whose beginning can be shared?

Pure. A sequence's cells are those of its computed tokens in the model's memory.
With one memory for all, a beginning that a running sequence has is shared by
naming its cells once more: it costs neither time nor room. With one for each it
is copied. What finished is taken out of the memory and kept beside it, because
whoever decodes in one memory passes over every cell there, in every head of
every layer, and because the next one needs the place.

Names are given from the lowest: with a memory for each, llama.cpp computes
neighbours together and others one after the other.
"""

import heapq
from dataclasses import dataclass
from typing import Any

WORTH_WAITING = 32
"""Tokens that are computed in less time than another step takes to begin."""
WORTH_KEEPING = 8
"""Tokens; fewer are computed again before they are copied."""


@dataclass(eq=False, slots=True)
class Cells:
    """What one running sequence has, or will have, in memory."""

    id: int
    tokens: list[int]
    computed: int = 0
    """Of the tokens, how many are in memory: always the first ones."""


@dataclass(eq=False, slots=True)
class Kept:
    """What a finished sequence left."""

    tokens: list[int]
    state: Any
    """What to put back into memory; nothing here looks into it."""
    size: int
    """Bytes of `state`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new sequence goes: `cells.computed` tokens of it are to be taken from `source`."""

    cells: Cells
    source: Cells | Kept | None


class Shelf:
    """The names of `names` running sequences, and finished ones of `room` bytes."""

    def __init__(self, names: int, room: int, *, copies: bool = False) -> None:
        """`copies`: it takes one to share with a running sequence, too."""
        self.names = names
        self._room = room
        self._worth_sharing = WORTH_KEEPING if copies else 1
        self._free = list(range(names))  # a heap
        self._running: list[Cells] = []
        self._kept: list[Kept] = []  # least recently used first

    @property
    def kept(self) -> int:
        """How many finished ones there are."""
        return len(self._kept)

    def join(self, tokens: list[int], most: int) -> Place:
        """Share at most `most` tokens: whoever wants logits must compute something."""
        source, shared = self._longest(tokens, most)
        if isinstance(source, Kept):
            self._kept.remove(source)
            if shared < len(source.tokens):  # not all of it will be in the new one as well
                self._kept.append(source)
        cells = Cells(heapq.heappop(self._free), tokens, shared)
        self._running.append(cells)
        return Place(cells, source)

    def leave(self, cells: Cells) -> None:
        """The sequence is over, and its cells are removed."""
        self._running.remove(cells)
        heapq.heappush(self._free, cells.id)

    def gap(self) -> tuple[Cells, int] | None:
        """Who has the highest name, and a lower one that is free."""
        last = max(self._running, key=lambda cells: cells.id, default=None)
        if last and self._free and self._free[0] < last.id:
            return last, self._free[0]
        return None

    def rename(self, cells: Cells, id: int) -> None:
        """Its cells are where the free name `id` belongs."""
        self._free.remove(id)
        self._free.append(cells.id)
        heapq.heapify(self._free)
        cells.id = id

    def keep(self, tokens: list[int], state: Any, size: int) -> None:
        """The oldest go as far as this one needs their room; one without room is not kept."""
        self._kept.append(Kept(tokens, state, size))
        while sum(kept.size for kept in self._kept) > self._room:
            del self._kept[0]

    def has_room_for(self, size: int) -> bool:
        return size <= self._room

    def forget(self) -> None:
        """Drop what finished ones left."""
        self._kept.clear()

    def promises(self, tokens: list[int], most: int) -> bool:
        """A running sequence will soon have much more to share than anybody has now."""
        _, now = self._longest(tokens, most)
        soon = max((common(c.tokens, tokens, most) for c in self._running), default=0)
        return soon >= now + WORTH_WAITING

    def _longest(self, tokens: list[int], most: int) -> tuple[Cells | Kept | None, int]:
        """Whoever has most in common with `tokens`; of equals a running one, or the most recent."""
        best: Cells | Kept | None = None
        length = 0
        for kept in self._kept:
            shared = common(kept.tokens, tokens, most)
            if shared >= max(length, WORTH_KEEPING):
                best, length = kept, shared
        for cells in self._running:
            shared = common(cells.tokens, tokens, min(cells.computed, most))
            if shared >= max(length, self._worth_sharing):
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
