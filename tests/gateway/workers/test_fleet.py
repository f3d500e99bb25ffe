"""The fleet's state changes by its verbs, and says who holds, loads or drains what."""

import pytest

from gateway.workers.fleet import Fleet, Worker
from protocol.messages import Heartbeat, Hello, Loaded


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def add(
    fleet: Fleet, name: str, model: str = "", *, slots: int = 2, binding: str = "b", now: float = 0
) -> Worker:
    hello = Hello(protocol=0, binding=binding, pid=7, slots=slots, model=model)
    return fleet.join(f"{binding}.7.{name}".encode(), hello, now)


def test_slots_below_one_are_one(fleet: Fleet) -> None:
    worker = add(fleet, "w")
    fleet.loaded(worker, Loaded(1, "m", 0, slots=0))
    assert worker.slots == 1


def test_what_a_lost_worker_held_is_an_orphan_once(fleet: Fleet) -> None:
    worker = add(fleet, "dies", "m")
    assert fleet.lose(worker.identity) is worker
    assert fleet.lose(worker.identity) is None
    assert fleet.find(worker.identity) is None
    assert fleet.take_orphan("other") == ""
    assert fleet.take_orphan("b") == "m"
    assert fleet.take_orphan("b") == ""


def test_a_model_that_somebody_else_holds_is_no_orphan(fleet: Fleet) -> None:
    dies = add(fleet, "dies", "m")
    add(fleet, "lives", "m")
    fleet.lose(dies.identity)
    assert fleet.take_orphan("b") == ""


def test_who_was_meant_to_go_or_held_nothing_leaves_no_orphan(fleet: Fleet) -> None:
    retires, empty = add(fleet, "retires", "m"), add(fleet, "empty")
    fleet.retire(retires, 0)
    for worker in (retires, empty):
        fleet.lose(worker.identity)
    assert fleet.take_orphan("b") == ""


def test_what_is_expected_is_held_or_will_be(fleet: Fleet) -> None:
    worker = add(fleet, "w", "held")
    fleet.start_loading(worker, "comes")
    fleet.drain(worker, "later")
    assert all(fleet.expected("b", model) for model in ("held", "comes", "later"))
    assert not fleet.expected("b", "never") and not fleet.expected("c", "held")


def test_progress_is_a_step_or_nothing_to_do(fleet: Fleet) -> None:
    worker = add(fleet, "w", "m", now=0)
    for now, beat, progress in (
        (1, Heartbeat(steps=5, active=1), 1),
        (2, Heartbeat(steps=5, active=1), 1),  # it stands still, and has something to do
        (3, Heartbeat(steps=6, active=1), 3),
        (4, Heartbeat(steps=6, active=0), 4),
    ):
        fleet.beat(worker, beat, now)
        assert (worker.progress_at, worker.last_heard) == (progress, now)


def test_a_second_hello_of_one_identity_replaces_the_first(fleet: Fleet) -> None:
    before = add(fleet, "w", "m")
    fleet.assign(before, 1, 1)
    after = add(fleet, "w")
    assert fleet.all() == [after] and fleet.find(after.identity) is after
    assert not after.requests and after.model == ""
