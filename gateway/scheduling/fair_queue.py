"""A fair queue: turns go round by owner, for each owner by session, then by age.

An owner that comes back after its last item was popped or removed joins the round at its end:
it gains nothing by coming again, and waits at most one turn of each other owner.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Share(Generic[T]):
    """What one owner has in the round."""

    def __init__(self) -> None:
        self.sessions: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        """By session, the one whose turn is next first. None is empty."""

    def add(self, item: T, session: str) -> None:
        self.sessions.setdefault(session, OrderedDict())[item] = None

    def remove(self, item: T, session: str) -> None:
        items = self.sessions[session]
        del items[item]
        if not items:
            del self.sessions[session]

    def __iter__(self) -> Iterator[T]:
        return _in_turns(self.sessions.values())


class FairQueue(Generic[T]):
    """A change costs amortised O(1). An item is in the queue at most once."""

    def __init__(self) -> None:
        # OrderedDict, because the first key of a dict is far away after many deletions.
        self._front: OrderedDict[T, None] = OrderedDict()
        self._shares: OrderedDict[str, Share[T]] = OrderedDict()
        """By owner, the one whose turn is next first. None is empty."""
        self._places: dict[T, tuple[str, str]] = {}
        """Owner and session of all items."""
        self._counts: Counter[str] = Counter()

    def push(self, item: T, owner: str, session: str) -> None:
        """Put it behind the others of its session. Raise ValueError if it is there already."""
        self._place(item, owner, session)
        self._shares.setdefault(owner, Share()).add(item, session)

    def push_front(self, item: T, owner: str, session: str) -> None:
        """Put it before the whole round, behind others that were put there: it costs its owner
        no turn. Raise ValueError if it is there already."""
        self._place(item, owner, session)
        self._front[item] = None

    def pop(self) -> T:
        """Remove the next item and end the turn of its owner. Raise IndexError if there is none."""
        for item in self:
            owner, session = self._places[item]
            if item not in self._front:
                self._shares.move_to_end(owner)
                self._shares[owner].sessions.move_to_end(session)
            self.remove(item)
            return item
        raise IndexError("the queue is empty")

    def remove(self, item: T) -> None:
        """Remove it, if it is there. Nobody's turn changes."""
        if item not in self._places:
            return
        owner, session = self._places.pop(item)
        self._counts[owner] -= 1
        if not self._counts[owner]:
            del self._counts[owner]
        if item in self._front:
            del self._front[item]
            return
        share = self._shares[owner]
        share.remove(item, session)
        if not share.sessions:
            del self._shares[owner]

    def peek(self, count: int) -> list[T]:
        """Up to so many items, in the order in which they would be popped. It costs O(count)."""
        return list(islice(self, count))

    def count(self, owner: str) -> int:
        """How many items the owner has, those in front included."""
        return self._counts.get(owner, 0)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many items each owner has that has any."""
        return self._counts

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, item: object) -> bool:
        return item in self._places

    def __iter__(self) -> Iterator[T]:
        """In the order in which they would be popped. The queue must not change meanwhile."""
        yield from self._front
        yield from _in_turns(self._shares.values())

    def _place(self, item: T, owner: str, session: str) -> None:
        if item in self._places:
            raise ValueError("the item is in the queue already")
        self._places[item] = owner, session
        self._counts[owner] += 1


def _in_turns(members: Iterable[Iterable[T]]) -> Iterator[T]:
    """One of each member, then the next of each that has more, and so on."""
    turns: Iterable[Iterator[T]] = map(iter, members)
    while True:
        more: list[Iterator[T]] = []
        for member in turns:
            for item in member:
                yield item
                more.append(member)
                break
        if not more:
            return
        turns = more
