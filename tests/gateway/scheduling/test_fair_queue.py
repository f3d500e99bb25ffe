"""The fair queue against a simple model, and what each owner and session may expect of it."""

import itertools
import time
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.scheduling.fair_queue import FairQueue

OWNERS = st.sampled_from("abcd")
SESSIONS = st.sampled_from("xyz")


def drain(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def queue_of(*items: str) -> FairQueue[str]:
    """The first letter of an item is its owner, the second its session."""
    queue = FairQueue[str]()
    for item in items:
        queue.push(item, item[0], item[1])
    return queue


def test_turns_go_round_by_owner_then_by_session_then_first_in_first_out() -> None:
    queue = queue_of("ax1", "ax2", "ax3", "ay1", "bx1", "bx2", "cz1")
    assert drain(queue) == ["ax1", "bx1", "cz1", "ay1", "bx2", "ax2", "ax3"]


def test_an_owner_waits_at_most_one_turn_of_each_other_however_many_they_push() -> None:
    queue = queue_of(*(f"{owner}x{number}" for owner in "abc" for number in range(30)))
    queue.push("dx", "d", "x")
    assert queue.peek(4)[-1] == "dx"


def test_who_is_away_while_its_turn_lasts_has_its_next_one_when_all_others_had_theirs() -> None:
    queue = queue_of("ax", *(f"bx{number}" for number in range(50)), "cx")
    turns = list[str]()
    away = ""
    for _ in range(30):
        item = queue.pop()
        if away:
            queue.push(away, away[0], away[1])  # it was parked for the one that was popped
        away = item
        turns.append(item[0])
    assert turns == ["a", "b", "c"] * 10


def test_an_owner_gains_nothing_by_coming_again_after_each_turn() -> None:
    queue = queue_of("ax", *(f"bx{number}" for number in range(50)))
    turns = Counter[str]()
    for number in range(50):
        item = queue.pop()
        turns[item[0]] += 1
        if item[0] == "a":
            queue.push(f"ax{number}", "a", "x")
    assert turns == {"a": 25, "b": 25}


def test_an_owner_gains_nothing_by_more_sessions() -> None:
    queue = queue_of(*(f"a{session}" for session in "rstuvwxyz"), *(f"bx{n}" for n in range(9)))
    assert Counter(item[0] for item in queue.peek(10)) == {"a": 5, "b": 5}


def test_what_is_pushed_to_the_front_comes_first_and_costs_its_owner_no_turn() -> None:
    queue = queue_of("ax", "bx")
    queue.push_front("ay1", "a", "y")
    queue.push_front("ay2", "a", "y")
    assert queue.count("a") == 3
    assert drain(queue) == ["ay1", "ay2", "ax", "bx"]
    assert queue.count("a") == 0


def test_an_item_cannot_be_pushed_twice_and_a_stranger_is_removed_silently() -> None:
    queue = queue_of("ax")
    with pytest.raises(ValueError):
        queue.push("ax", "b", "y")
    with pytest.raises(ValueError):
        queue.push_front("ax", "b", "y")
    queue.remove("by")
    assert (list(queue), queue.count("b")) == (["ax"], 0)


def test_an_empty_queue_has_nothing_to_give() -> None:
    queue = FairQueue[str]()
    queue.push_front("ax", "a", "x")
    queue.pop()
    with pytest.raises(IndexError):
        queue.pop()
    assert queue.peek(3) == []


class Model(RuleBasedStateMachine):
    """The same queue as plain lists, slow and simple."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue[int]()
        self.numbers = itertools.count(1)
        self.front: list[tuple[int, str]] = []
        self.round: list[tuple[str, list[tuple[str, list[int]]]]] = []
        self.turns = itertools.count(1)
        self.last: dict[str | tuple[str, str], int] = {}
        """When an owner, and a session of one that waits, had its turn, or joined."""

    def order(self) -> list[int]:
        found = [item for item, _ in self.front]
        rounds = [(owner, [(s, list(items)) for s, items in each]) for owner, each in self.round]
        while rounds:
            owner, sessions = rounds.pop(0)
            session, items = sessions.pop(0)
            found.append(items.pop(0))
            if items:
                sessions.append((session, items))
            if sessions:
                rounds.append((owner, sessions))
        return found

    def of(self, owner: str) -> list[int]:
        return [item for o, each in self.round for _, items in each for item in items if o == owner]

    @rule(owner=OWNERS, session=SESSIONS)
    def push(self, owner: str, session: str) -> None:
        item = next(self.numbers)
        self.queue.push(item, owner, session)
        if owner not in dict(self.round):
            self.last = {
                key: last for key, last in self.last.items() if key[0] != owner or key == owner
            }
            self.last.setdefault(owner, next(self.turns))
            self.round.append((owner, []))
            self.round.sort(key=lambda each: self.last[each[0]])
        sessions = dict(self.round)[owner]
        if session not in dict(sessions):
            self.last.setdefault((owner, session), next(self.turns))
            sessions.append((session, []))
            sessions.sort(key=lambda each: self.last[owner, each[0]])
        dict(sessions)[session].append(item)

    @rule(owner=OWNERS, session=SESSIONS)
    def push_front(self, owner: str, session: str) -> None:
        item = next(self.numbers)
        self.queue.push_front(item, owner, session)
        self.front.append((item, owner))

    @precondition(lambda self: self.front or self.round)
    @rule()
    def pop(self) -> None:
        expected = self.order()[0]
        assert self.queue.pop() == expected
        if self.front:
            self.front.pop(0)
        else:
            owner, sessions = self.round.pop(0)
            self.last[owner] = next(self.turns)
            self.last[owner, sessions[0][0]] = next(self.turns)
            self.round.append((owner, [*sessions[1:], sessions[0]]))
            self.forget(expected)

    @rule(pick=st.integers(0, 1000))
    def remove(self, pick: int) -> None:
        item = pick % next(self.numbers)
        self.queue.remove(item)
        self.forget(item)

    def forget(self, item: int) -> None:
        self.front = [each for each in self.front if each[0] != item]
        for _, sessions in self.round:
            for _, items in sessions:
                if item in items:
                    items.remove(item)
            sessions[:] = [each for each in sessions if each[1]]
        self.round = [each for each in self.round if each[1]]

    @invariant()
    def agrees(self) -> None:
        order = self.order()
        assert list(self.queue) == order
        assert self.queue.peek(3) == order[:3]
        assert len(self.queue) == len(order)
        assert all(item in self.queue for item in order)
        for owner in "abcd":
            front = sum(o == owner for _, o in self.front)
            assert self.queue.count(owner) == front + len(self.of(owner))


def test_it_behaves_as_the_simple_model() -> None:
    run_state_machine_as_test(
        Model, settings=settings(max_examples=100, stateful_step_count=60, deadline=None)
    )


def turn_over(waiters: int, owners: int) -> float:
    """Seconds for as many of each change as there are waiters, while so many wait."""
    queue = FairQueue[int]()
    for item in range(waiters):
        queue.push(item, f"owner {item % owners}", f"session {item % 7}")
    started = time.process_time()
    for item in range(waiters, 2 * waiters):
        queue.push(item, f"owner {item % owners}", f"session {item % 7}")
        queue.remove(item)
        queue.push(item, f"owner {item * 31 % owners}", "")
        queue.remove(next(iter(queue)))
        queue.push_front(-item, f"owner {item % owners}", "")
        queue.pop()
        queue.push(-item, f"owner {item % owners}", "")
        queue.peek(2)
        queue.pop()
    assert len(queue) == waiters
    while queue:
        queue.pop()
    return time.process_time() - started


@pytest.mark.parametrize("each", [1, 10, 10_000], ids=["many owners", "some", "one owner"])
def test_ten_thousand_waiters_cost_no_more_for_each_change_than_a_thousand(each: int) -> None:
    """Ten times the changes may take 40 times as long; with a linear cost they take 100."""
    few = min(turn_over(1_000, max(1, 1_000 // each)) for _ in range(3))
    many = min(turn_over(10_000, max(1, 10_000 // each)) for _ in range(2))
    assert many < 40 * few
