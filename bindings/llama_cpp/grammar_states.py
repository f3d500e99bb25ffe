"""The states of a compiled grammar, and what can be said of them without a text.

They are a recursive transition network: a finite automaton for each rule, in which a call
enters another rule.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from .grammar import Range

RETURN = 0
"""The state in which every rule and every repeated part ends."""


class Kind(IntEnum):
    RETURN = 0
    READ = 1
    """Read one character of `ranges`, then go on at `then`."""
    SPLIT = 2
    """Go on at any of `targets`."""
    CALL = 3
    """Go through the rule that starts at `inner`, then go on at `then`."""
    REPEAT = 4
    """Go through `inner`, from `least` to `most` times, then go on at `then`."""


@dataclass(slots=True, eq=False)
class State:
    kind: Kind
    then: int = RETURN
    targets: tuple[int, ...] = ()
    inner: int = RETURN
    least: int = 0
    most: int | None = None
    ranges: tuple[Range, ...] = ()
    ascii: int = 0
    """A bit for each ASCII character of `ranges`."""
    starts: tuple[int, ...] = ()
    """The first character of each of `ranges`."""

    def reads(self, character: int) -> bool:
        if character < 128:
            return bool(self.ascii >> character & 1)
        return self.reads_any(character, character)

    def reads_any(self, low: int, high: int) -> bool:
        """Whether a character from `low` to `high` is read."""
        at = bisect_right(self.starts, high) - 1
        return at >= 0 and self.ranges[at][1] >= low

    def reads_all(self, low: int, high: int) -> bool:
        at = bisect_right(self.starts, low) - 1
        return at >= 0 and self.ranges[at][1] >= high


def can_be_empty(states: list[State]) -> set[int]:
    """The states from which the end of their rule can be reached without a character."""
    waiting: dict[int, list[int]] = {}
    for at, state in enumerate(states):
        if state.kind is not Kind.READ:
            for other in (state.then, state.inner, *state.targets):
                waiting.setdefault(other, []).append(at)
    empty, todo = {RETURN}, [RETURN]
    while todo:
        for at in waiting.get(todo.pop(), ()):
            if at not in empty and _passes(states[at], empty):
                empty.add(at)
                todo.append(at)
    return empty


def _passes(state: State, empty: set[int]) -> bool:
    match state.kind:
        case Kind.SPLIT:
            return not empty.isdisjoint(state.targets)
        case Kind.CALL:
            return state.inner in empty and state.then in empty
        case Kind.REPEAT:
            return state.then in empty and (state.least == 0 or state.inner in empty)
    return False


def left_recursion(states: list[State], empty: set[int]) -> int | None:
    """The start of a rule that calls itself before it has read a character, if there is one.

    It would be entered without end. Such a call is inside a strongly connected component
    of the steps that read nothing. Other circles are those of `*` around what can be
    empty, and harmless.
    """
    component = _components(states, empty)
    for at, state in enumerate(states):
        if state.kind is Kind.CALL and component[at] == component[state.inner]:
            return state.inner
    return None


def _components(states: list[State], empty: set[int]) -> list[int]:
    """The strongly connected component of each state, by Tarjan's algorithm."""
    found = [-1] * len(states)
    order = [0] * len(states)
    lowest = [0] * len(states)
    path: list[int] = []
    count = 0
    for start in range(len(states)):
        if order[start]:
            continue
        entered: list[tuple[int, Iterator[int]]] = []
        following: int | None = start
        while following is not None or entered:
            if following is not None and not order[following]:
                count += 1
                order[following] = lowest[following] = count
                path.append(following)
                entered.append((following, _steps(states[following], empty)))
            elif following is not None and found[following] < 0:
                at = entered[-1][0]
                lowest[at] = min(lowest[at], order[following])
            at, steps = entered[-1]
            following = next(steps, None)
            if following is None:
                entered.pop()
                if entered:
                    above = entered[-1][0]
                    lowest[above] = min(lowest[above], lowest[at])
                if lowest[at] == order[at]:
                    while path[-1] != at:
                        found[path.pop()] = at
                    found[path.pop()] = at
    return found


def _steps(state: State, empty: set[int]) -> Iterator[int]:
    """Where a match can go on without a character."""
    yield from state.targets
    if state.kind in (Kind.CALL, Kind.REPEAT):
        yield state.inner
        if state.inner in empty or (state.kind is Kind.REPEAT and state.least == 0):
            yield state.then
