"""Who gives way: clients that do not read, then those who had their slice, for fairness only."""

import itertools
from dataclasses import replace

import pytest

from gateway.scheduling.policy import Policy
from gateway.scheduling.preemption import displaced, drained, may_switch
from gateway.scheduling.turns import Turn, Waiter
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from tests.gateway.workers.test_fleet import add

NOW = 1000.0
POLICY = Policy(slice=10.0, park_after=1.0)
IDS = itertools.count()


@pytest.fixture
def worker() -> Worker:
    worker = add(Fleet(), "w", "m", slots=8)
    worker.resumable = True
    return worker


def waiter(owner: str, *, parkable: bool = True) -> Waiter:
    return Waiter(binding="b", model="m", slot=True, owner=owner, parkable=parkable)


def turn(
    worker: Worker, owner: str, ran: float, *, unread: float = 0.0, start: float = 0.1,
    parkable: bool = True,
) -> Turn:  # fmt: skip
    """It has run for so long, and nothing was read for so long."""
    began = Turn(waiter(owner, parkable=parkable), worker, NOW - ran, start_seconds=start)
    began.unread_since = NOW - unread if unread else 0.0
    return began


def owners(turns: list[Turn], waiting: str, ending: int = 0, policy: Policy = POLICY) -> list[str]:
    return [t.owner for t in displaced(turns, map(waiter, waiting), ending, NOW, policy)]


def test_nobody_gives_way_before_the_slice_is_over(worker: Worker) -> None:
    assert owners([turn(worker, "a", 9)], "b") == []
    assert owners([turn(worker, "a", 11)], "b") == ["a"]
    assert owners([turn(worker, "a", 11)], "") == [], "nobody waits"
    assert owners([turn(worker, "a", 11)], "b", policy=replace(POLICY, slice=0)) == []


def test_a_slice_is_at_least_four_times_what_it_cost_to_start(worker: Worker) -> None:
    assert owners([turn(worker, "a", 19, start=5)], "b") == []
    assert owners([turn(worker, "a", 21, start=5)], "b") == ["a"]
    assert owners([turn(worker, "a", 99, start=0)], "b") == [], "its first token has not come"


def test_who_does_not_read_gives_way_at_once_the_longest_first(worker: Worker) -> None:
    turns = [turn(worker, "a", 5, unread=2), turn(worker, "b", 5, unread=3), turn(worker, "c", 99)]
    assert owners(turns, "d") == ["b"]
    assert owners(turns, "dde") == ["b", "a", "c"]
    assert owners([turn(worker, "a", 5, unread=0.5)], "d") == []
    assert owners(turns[:2], "d", policy=replace(POLICY, park_after=0)) == []


def test_who_cannot_continue_never_gives_way(worker: Worker) -> None:
    assert owners([turn(worker, "a", 99, unread=9, parkable=False)], "b") == []
    worker.resumable = False
    assert owners([turn(worker, "a", 99, unread=9)], "b") == []


def test_who_gives_way_already_does_not_do_so_twice(worker: Worker) -> None:
    goes = turn(worker, "a", 99)
    goes.parking = True
    turns = [goes, turn(worker, "a", 99)]
    assert owners(turns, "b", ending=1) == [], "it gets the slot that is being given up"
    assert owners(turns, "bb", ending=1) == [], "each has one then"
    assert owners(turns, "bc", ending=1) == ["a"]


def test_the_owner_with_the_most_slots_gives_way_the_oldest_turn_first(worker: Worker) -> None:
    old, new = turn(worker, "a", 50), turn(worker, "a", 20)
    turns = [turn(worker, "b", 99), new, old]
    assert displaced(turns, [waiter("c")], 0, NOW, POLICY) == [old]


def test_an_owner_never_gets_more_than_those_whom_it_displaces(worker: Worker) -> None:
    turns = [turn(worker, owner, 99) for owner in "aab"]
    assert owners(turns, "b") == ["a"]
    turns = [turn(worker, owner, 99) for owner in "aabb"]
    assert owners(turns, "c") in (["a"], ["b"])
    assert sorted(owners(turns, "cc")) == ["a", "b"]
    assert len(owners(turns, "ccc")) == 2, "that would be more than the others have"


def test_requests_of_one_owner_take_turns(worker: Worker) -> None:
    turns = [turn(worker, "a", 50), turn(worker, "b", 99)]
    assert owners(turns, "a") == ["a"]


def test_who_waits_for_nothing_does_not_hold_up_who_is_behind(worker: Worker) -> None:
    young, old = turn(worker, "a", 5), turn(worker, "b", 50)
    assert owners([young, old, turn(worker, "b", 60)], "bac") == ["b", "b"]


def test_a_worker_that_makes_room_ends_turns_that_did_not_read_or_had_their_slice(
    worker: Worker,
) -> None:
    turns = [
        turn(worker, "young", 5), turn(worker, "stalled", 5, unread=2),
        turn(worker, "old", 15), turn(worker, "stays", 99, parkable=False),
    ]  # fmt: skip
    assert [t.owner for t in drained(turns, NOW, POLICY)] == ["stalled", "old"]
    worker.load_seconds = 4.0
    assert [t.owner for t in drained(turns, NOW, POLICY)] == ["stalled"], "loading costs more"
    assert drained(turns[2:], NOW, replace(POLICY, slice=0)) == []


def test_a_model_keeps_its_worker_for_a_slice_or_four_times_its_load(worker: Worker) -> None:
    turns = [turn(worker, "a", 1)]
    worker.requests.add(1)
    worker.held_since = NOW - 11
    assert may_switch(worker, turns, NOW, POLICY)
    worker.load_seconds = 3
    assert not may_switch(worker, turns, NOW, POLICY)
    assert may_switch(worker, turns, NOW, replace(POLICY, slice=0)), (
        "its requests end by themselves"
    )


def test_a_worker_of_clients_that_do_not_read_makes_room_at_once(worker: Worker) -> None:
    worker.held_since = NOW - 2
    stalled = turn(worker, "a", 1, unread=1)
    worker.requests.add(1)
    assert may_switch(worker, [stalled], NOW, POLICY)
    worker.requests.add(2)
    assert not may_switch(worker, [stalled], NOW, POLICY), "it tokenizes for somebody"
    assert not may_switch(worker, [stalled, turn(worker, "b", 1)], NOW, POLICY)
