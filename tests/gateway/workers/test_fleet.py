"""Who takes the next request, and what has to happen first?"""

import pytest

from gateway.workers.fleet import Fleet, Step, Worker
from protocol.messages import Heartbeat, Hello, Loaded


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def add(
    fleet: Fleet, name: str, model: str = "", *, slots: int = 2, binding: str = "b", now: float = 0
) -> Worker:
    hello = Hello(protocol=0, binding=binding, pid=7, slots=slots, model=model)
    return fleet.join(f"{binding}.7.{name}".encode(), hello, now)


def place(fleet: Fleet, model: str = "m", **options: bool) -> tuple[Step, Worker | None]:
    return fleet.place("b", model, **{"startable": True, **options})


def test_nobody_there_starts_one(fleet: Fleet) -> None:
    assert place(fleet) == (Step.START, None)
    assert place(fleet, startable=False) == (Step.WAIT, None)


def test_a_holder_with_a_free_slot_serves(fleet: Fleet) -> None:
    add(fleet, "empty")
    holder = add(fleet, "holder", "m")
    assert place(fleet) == (Step.SERVE, holder)


def test_the_holder_with_the_largest_free_share_serves(fleet: Fleet) -> None:
    large, small = add(fleet, "large", "m", slots=4), add(fleet, "small", "m", slots=2)
    fleet.assign(large, 1, 1)
    fleet.assign(small, 2, 1)
    assert place(fleet) == (Step.SERVE, large)
    fleet.assign(large, 3, 1)
    fleet.assign(large, 4, 1)
    assert place(fleet) == (Step.SERVE, small)


def test_a_reserved_slot_is_not_free(fleet: Fleet) -> None:
    holder = add(fleet, "holder", "m", slots=1)
    holder.reserved = 1
    assert not holder.idle
    assert place(fleet) == (Step.WAIT, None)
    assert place(fleet, slot=False) == (Step.SERVE, holder)


def test_a_full_holder_is_waited_for_and_nobody_else_loads_the_model(fleet: Fleet) -> None:
    holder = add(fleet, "holder", "m", slots=1)
    add(fleet, "empty")
    fleet.assign(holder, 1, 1)
    assert place(fleet) == (Step.WAIT, None)
    fleet.release(holder, 1, 2)
    assert place(fleet) == (Step.SERVE, holder)


def test_an_empty_worker_loads_before_one_is_started_or_a_model_is_taken_away(
    fleet: Fleet,
) -> None:
    add(fleet, "other", "other")
    empty = add(fleet, "empty")
    assert place(fleet) == (Step.LOAD, empty)


def test_one_is_started_before_a_model_is_taken_away(fleet: Fleet) -> None:
    other = add(fleet, "other", "other")
    assert place(fleet) == (Step.START, None)
    assert place(fleet, startable=False) == (Step.LOAD, other)


def test_of_the_idle_ones_the_one_used_longest_ago_loads(fleet: Fleet) -> None:
    one, two = add(fleet, "one", "a", now=0), add(fleet, "two", "c", now=0)
    for number, worker in enumerate((two, one), 1):
        fleet.assign(worker, number, number)
        fleet.release(worker, number, number)
    assert place(fleet, startable=False) == (Step.LOAD, two)


def test_an_idle_worker_loads_before_a_busy_one_that_was_used_longer_ago(fleet: Fleet) -> None:
    busy, idle = add(fleet, "busy", "a", now=0), add(fleet, "idle", "c", now=9)
    fleet.assign(busy, 1, 1)
    assert place(fleet, startable=False) == (Step.LOAD, idle)


def test_when_all_are_busy_the_oldest_is_drained_and_loads_when_it_is_idle(fleet: Fleet) -> None:
    old, new = add(fleet, "old", "a"), add(fleet, "new", "c")
    fleet.assign(old, 1, 1)
    fleet.assign(new, 2, 2)
    assert place(fleet, startable=False) == (Step.WAIT, None)
    assert (old.draining, new.draining) == ("m", "")
    assert place(fleet, startable=False) == (Step.WAIT, None)
    assert new.draining == "", "one is enough"
    fleet.release(old, 1, 3)
    assert place(fleet, startable=False) == (Step.LOAD, old)


def test_a_draining_worker_takes_no_new_requests(fleet: Fleet) -> None:
    only = add(fleet, "only", "a")
    fleet.assign(only, 1, 1)
    place(fleet, startable=False)
    assert only.draining == "m"
    assert place(fleet, "a", startable=False) == (Step.WAIT, None)
    assert place(fleet, "a", startable=True) == (Step.START, None)


def test_two_models_that_are_wanted_drain_two_workers(fleet: Fleet) -> None:
    workers = [add(fleet, name, name) for name in ("x", "y")]
    for number, worker in enumerate(workers):
        fleet.assign(worker, number, number)
    for model in ("m", "n"):
        assert place(fleet, model, startable=False) == (Step.WAIT, None)
    assert [worker.draining for worker in workers] == ["m", "n"]
    assert place(fleet, "o", startable=False) == (Step.WAIT, None)


def test_nobody_is_drained_for_what_nobody_wants(fleet: Fleet) -> None:
    only = add(fleet, "only", "a")
    fleet.assign(only, 1, 1)
    place(fleet, startable=False)
    fleet.stop_draining({("b", "m")})
    assert only.draining == "m"
    fleet.stop_draining({("other", "m")})
    assert only.draining == ""
    assert place(fleet, "a") == (Step.SERVE, only)


def test_a_model_that_is_being_loaded_is_waited_for(fleet: Fleet) -> None:
    loads = add(fleet, "loads")
    add(fleet, "empty")
    loads.loading = "m"
    assert place(fleet) == (Step.WAIT, None)
    fleet.loaded(loads, Loaded(1, "m", 512, slots=3, details={"quantisation": "F16"}))
    assert place(fleet) == (Step.SERVE, loads)
    assert (loads.context_size, loads.slots, loads.loading) == (512, 3, "")


def test_a_loading_worker_serves_nobody_and_loads_nothing_else(fleet: Fleet) -> None:
    loads = add(fleet, "loads", "m")
    loads.loading = "other"
    assert fleet.holders("b", "m") == []
    assert place(fleet, startable=False) == (Step.WAIT, None)


def test_a_retiring_worker_is_nobody(fleet: Fleet) -> None:
    worker = add(fleet, "goes", "m")
    worker.retiring = True
    assert fleet.holders("b", "m") == []
    assert place(fleet) == (Step.START, None)


def test_another_binding_is_another_world(fleet: Fleet) -> None:
    add(fleet, "other", "m", binding="c")
    assert place(fleet) == (Step.START, None)


def test_slots_below_one_are_one(fleet: Fleet) -> None:
    worker = add(fleet, "w")
    fleet.loaded(worker, Loaded(1, "m", 0, slots=0))
    assert worker.slots == 1


def test_what_a_lost_worker_held_is_an_orphan_once(fleet: Fleet) -> None:
    worker = add(fleet, "dies", "m")
    assert fleet.lose(worker.identity) is worker
    assert fleet.lose(worker.identity) is None
    assert fleet.find(worker.identity) is None
    assert fleet.orphan("other") == ""
    assert fleet.orphan("b") == "m"
    assert fleet.orphan("b") == ""


def test_a_model_that_somebody_else_holds_is_no_orphan(fleet: Fleet) -> None:
    dies = add(fleet, "dies", "m")
    add(fleet, "lives", "m")
    fleet.lose(dies.identity)
    assert fleet.orphan("b") == ""


def test_who_was_meant_to_go_or_held_nothing_leaves_no_orphan(fleet: Fleet) -> None:
    retires, empty = add(fleet, "retires", "m"), add(fleet, "empty")
    retires.retiring = True
    for worker in (retires, empty):
        fleet.lose(worker.identity)
    assert fleet.orphan("b") == ""


def test_what_is_expected_is_held_or_will_be(fleet: Fleet) -> None:
    worker = add(fleet, "w", "held")
    worker.loading, worker.draining = "comes", "later"
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
        fleet.hear(worker, beat, now)
        assert (worker.progress_at, worker.last_heard) == (progress, now)


def test_a_second_hello_of_one_identity_replaces_the_first(fleet: Fleet) -> None:
    before = add(fleet, "w", "m")
    fleet.assign(before, 1, 1)
    after = add(fleet, "w")
    assert fleet.all() == [after] and fleet.find(after.identity) is after
    assert not after.requests and after.model == ""
