"""Prefix cache: find the sequence whose first tokens a new sequence can share.

Pure state: nothing here calls llama.cpp. In a unified KV cache a new sequence shares the
prefix of a running one by adding a reference to its cells, which costs neither time nor
memory. With one KV cache per sequence the prefix is copied. The state of a finished
sequence is taken out of the KV cache and saved here, because a decoding sequence scans
every cell of its KV cache, in every head of every layer, and because the next sequence
needs the place.

A prefix is shared within one holder only: how many tokens were reused, and how soon the
answer comes, would tell others what somebody asked. All share one budget. Where it is
full, the holder that takes most of it loses its least recently used state, so that each
keeps an equal share whatever the others do.

Ids are assigned from the lowest: with one KV cache per sequence, llama.cpp computes
neighbouring ids together and others one after the other.
"""

import heapq
from dataclasses import dataclass
from typing import Any

WORTH_WAITING = 32
"""Tokens that are computed in less time than another step takes to begin."""
WORTH_KEEPING = 8
"""Tokens; computing fewer again is cheaper than copying them."""


@dataclass(eq=False, slots=True)
class KvCells:
    """The KV cache cells of one running sequence."""

    id: int
    """The sequence id in llama.cpp."""
    tokens: list[int]
    computed: int = 0
    """How many of the tokens are in the KV cache: always the first ones."""
    holder: str = ""
    """Whose tokens they are: `Request.holder`."""


@dataclass(eq=False, slots=True)
class CachedPrefix:
    """The saved state of a finished sequence."""

    tokens: list[int]
    state: Any
    """What `KvMemory.save` returned; not inspected here."""
    size: int
    """Bytes of `state`."""
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The cells of a new sequence, and where to take their first `cells.computed` tokens from."""

    cells: KvCells
    source: KvCells | CachedPrefix | None


class PrefixCache:
    """The ids of running sequences, and the saved states of finished ones."""

    def __init__(self, ids: int, capacity: int, *, copies: bool = False) -> None:
        """`capacity`: bytes for saved states.

        `copies`: sharing the prefix of a running sequence takes a copy, too.
        """
        self.ids = ids
        self._capacity = capacity
        self._min_shared = WORTH_KEEPING if copies else 1
        self._free_ids = list(range(ids))  # a heap
        self._running: list[KvCells] = []
        self._cached: list[CachedPrefix] = []  # least recently used first

    @property
    def count(self) -> int:
        """How many finished sequences are cached."""
        return len(self._cached)

    def assign(self, tokens: list[int], most: int, holder: str = "") -> Assignment:
        """Share at most `most` tokens: at least one must be computed to get logits."""
        source, shared = self._longest_match(tokens, most, holder)
        if isinstance(source, CachedPrefix):
            self._cached.remove(source)
            if shared < len(source.tokens):  # the new sequence will not contain all of it
                self._cached.append(source)
        cells = KvCells(heapq.heappop(self._free_ids), tokens, shared, holder)
        self._running.append(cells)
        return Assignment(cells, source)

    def release(self, cells: KvCells) -> None:
        """The sequence is finished; the caller clears its cells."""
        self._running.remove(cells)
        heapq.heappush(self._free_ids, cells.id)

    def gap(self) -> tuple[KvCells, int] | None:
        """The running sequence with the highest id, and a lower id that is free."""
        last = max(self._running, key=lambda cells: cells.id, default=None)
        if last and self._free_ids and self._free_ids[0] < last.id:
            return last, self._free_ids[0]
        return None

    def renumber(self, cells: KvCells, id: int) -> None:
        """The caller has moved the cells to the free `id`."""
        self._free_ids.remove(id)
        self._free_ids.append(cells.id)
        heapq.heapify(self._free_ids)
        cells.id = id

    def store(self, tokens: list[int], state: Any, size: int, holder: str = "") -> None:
        """Evict until this one fits; too large a one is not kept."""
        self._cached.append(CachedPrefix(tokens, state, size, holder))
        excess = sum(cached.size for cached in self._cached) - self._capacity
        while excess > 0:
            evicted = self._next_to_evict()
            self._cached.remove(evicted)
            excess -= evicted.size

    def _next_to_evict(self) -> CachedPrefix:
        """The least recently used state of the holder whose states take most."""
        taken: dict[str, int] = {}
        for cached in self._cached:
            taken[cached.holder] = taken.get(cached.holder, 0) + cached.size
        largest = max(taken.values())
        return next(cached for cached in self._cached if taken[cached.holder] == largest)

    def fits(self, size: int) -> bool:
        return size <= self._capacity

    def clear(self) -> None:
        """Drop the saved states of finished sequences."""
        self._cached.clear()

    def worth_waiting(self, tokens: list[int], most: int, holder: str = "") -> bool:
        """Whether a running sequence will soon share many more tokens than any does now."""
        _, now = self._longest_match(tokens, most, holder)
        own = (cells for cells in self._running if cells.holder == holder)
        soon = max((common_prefix(cells.tokens, tokens, most) for cells in own), default=0)
        return soon >= now + WORTH_WAITING

    def _longest_match(
        self, tokens: list[int], most: int, holder: str
    ) -> tuple[KvCells | CachedPrefix | None, int]:
        """The longest common prefix; of equals a running sequence, else the most recent one."""
        best: KvCells | CachedPrefix | None = None
        length = 0
        for cached in self._cached:
            if cached.holder != holder:
                continue
            shared = common_prefix(cached.tokens, tokens, most)
            if shared >= max(length, WORTH_KEEPING):
                best, length = cached, shared
        for cells in self._running:
            if cells.holder != holder:
                continue
            shared = common_prefix(cells.tokens, tokens, min(cells.computed, most))
            if shared >= max(length, self._min_shared):
                best, length = cells, shared
        return best, length


def common_prefix(a: list[int], b: list[int], most: int) -> int:
    """How many tokens are equal from the start; counts to `most`."""
    most = min(most, len(a), len(b))
    start, stride = 0, 256
    while start < most and a[start : start + stride] == b[start : start + stride]:
        start += stride
    while start < most and a[start] == b[start]:
        start += 1
    return min(start, most)
