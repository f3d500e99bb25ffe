"""A fair queue: turns go round by owner, for each owner by session, then by age.

Before its next item an owner waits at most one turn of each other owner. One that is away while
its turn lasts, and comes back, has its next one when all others had theirs since: it neither
gains nor loses anything. Who is new joins the round at its end.
"""

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Generic, TypeVar

REMEMBERED = 1024
"""Members that are away and have their place in a round when they come back."""

T = TypeVar("T", bound=Hashable)
M = TypeVar("M")


class Round(Generic[M]):
    """Members in the order of their last turns, the one that had none for longest first."""

    def __init__(self) -> None:
        self._members: dict[str, M] = {}
        self._places: dict[str, int] = {}
        """When each had its last turn, or joined."""
        self._order: list[tuple[int, str]] = []
        self._away: OrderedDict[str, int] = OrderedDict()
        self._turns = 0

    def join(self, name: str, member: M) -> M:
        """Return the member, or the one of this name that is there already."""
        if name in self._members:
            return self._members[name]
        self._turns += 1
        self._put(name, self._away.pop(name, self._turns))
        self._members[name] = member
        return member

    def leave(self, name: str) -> None:
        """It keeps its place for a while."""
        del self._members[name]
        self._away[name] = self._take(name)
        if len(self._away) > REMEMBERED:
            self._away.popitem(last=False)

    def end_turn(self, name: str) -> None:
        """It had its turn."""
        self._turns += 1
        self._take(name)
        self._put(name, self._turns)

    def get(self, name: str) -> M:
        return self._members[name]

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[M]:
        return (self._members[name] for _, name in self._order)

    def _put(self, name: str, place: int) -> None:
        self._places[name] = place
        insort(self._order, (place, name))

    def _take(self, name: str) -> int:
        place = self._places.pop(name)
        del self._order[bisect_left(self._order, (place, name))]
        return place


class Share(Generic[T]):
    """What one owner has in the round, by session. No session is empty."""

    def __init__(self) -> None:
        self.sessions: Round[OrderedDict[T, None]] = Round()

    def __iter__(self) -> Iterator[T]:
        return _in_turns(self.sessions)


class FairQueue(Generic[T]):
    """A change costs O(log n) for n owners and sessions, and the shift of a list of pointers. An
    item is in the queue at most once."""

    def __init__(self) -> None:
        # OrderedDict, because the first key of a dict is far away after many deletions.
        self._front: OrderedDict[T, None] = OrderedDict()
        self._shares: Round[Share[T]] = Round()
        """By owner. None is empty."""
        self._places: dict[T, tuple[str, str]] = {}
        """Owner and session of all items."""
        self._counts: Counter[str] = Counter()

    def push(self, item: T, owner: str, session: str) -> None:
        """Put it behind the others of its session. Raise ValueError if it is there already."""
        self._place(item, owner, session)
        sessions = self._shares.join(owner, Share()).sessions
        sessions.join(session, OrderedDict())[item] = None

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
                self._shares.end_turn(owner)
                self._shares.get(owner).sessions.end_turn(session)
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
        sessions = self._shares.get(owner).sessions
        items = sessions.get(session)
        del items[item]
        if not items:
            sessions.leave(session)
        if not sessions:
            self._shares.leave(owner)

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
        yield from _in_turns(self._shares)

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
