"""Which worker takes the next request, and what has to happen first."""

import pytest

from gateway.scheduling import placement
from gateway.scheduling.placement import Step, stop_draining
from gateway.workers.fleet import Fleet, Worker
from protocol.messages import Loaded
from tests.gateway.workers.test_fleet import add


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def place(fleet: Fleet, model: str = "m", **options: bool) -> tuple[Step, Worker | None]:
    return placement.place(fleet, "b", model, **{"startable": True, **options})


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
    fleet.reserve(holder)
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
    stop_draining(fleet, {("b", "m")})
    assert only.draining == "m"
    stop_draining(fleet, {("other", "m")})
    assert only.draining == ""
    assert place(fleet, "a") == (Step.SERVE, only)


def test_a_model_that_is_being_loaded_is_waited_for(fleet: Fleet) -> None:
    loads = add(fleet, "loads")
    add(fleet, "empty")
    fleet.start_loading(loads, "m")
    assert place(fleet) == (Step.WAIT, None)
    fleet.loaded(loads, Loaded(1, "m", 512, slots=3, details={"quantisation": "F16"}))
    assert place(fleet) == (Step.SERVE, loads)
    assert (loads.context_size, loads.slots, loads.loading) == (512, 3, "")


def test_a_loading_worker_serves_nobody_and_loads_nothing_else(fleet: Fleet) -> None:
    loads = add(fleet, "loads", "m")
    fleet.start_loading(loads, "other")
    assert fleet.holders("b", "m") == []
    assert place(fleet, startable=False) == (Step.WAIT, None)


def test_a_retiring_worker_is_nobody(fleet: Fleet) -> None:
    worker = add(fleet, "goes", "m")
    fleet.retire(worker, 0)
    assert fleet.holders("b", "m") == []
    assert place(fleet) == (Step.START, None)


def test_another_binding_is_another_world(fleet: Fleet) -> None:
    add(fleet, "other", "m", binding="c")
    assert place(fleet) == (Step.START, None)
