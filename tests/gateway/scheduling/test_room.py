"""How a model that no worker serves gets one: who loads it, and what has to go before."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from gateway.scheduling.placement import Step
from gateway.scheduling.policy import Policy
from gateway.scheduling.room import Room, room_for
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Loaded
from tests.gateway.workers.test_fleet import add, remote

FIXED = Policy(processes=lambda binding: 9)
AUTOMATIC = Policy(processes=lambda binding: 0, max_models=2)
NOW = 100.0


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def place(
    fleet: Fleet, model: str = "m", policy: Policy = FIXED, *, startable: bool = False,
    tried: Collection[Worker] = (), stays: Collection[Worker] = (), switch: bool = True,
    remote_only: bool = False, held: bool = False,
) -> tuple[Step, Worker | None]:  # fmt: skip
    room = Room(
        startable=startable, tried=tried, stoppable=lambda worker: worker not in stays,
        may_switch=lambda worker: switch, now=NOW, remote_only=remote_only, held=held,
    )  # fmt: skip
    return room_for(fleet, ("b", model), policy, room)


def busy(fleet: Fleet, worker: Worker, request: int = 1) -> Worker:
    fleet.assign(worker, request, NOW, slot=True)
    return worker


def used(worker: Worker, at: float) -> Worker:
    worker.used_at = at
    return worker


def test_nobody_there_starts_one(fleet: Fleet) -> None:
    assert place(fleet, startable=True) == (Step.START, None)
    assert place(fleet) == (Step.WAIT, None)


def test_an_empty_worker_loads_before_one_is_started_or_a_model_is_taken_away(
    fleet: Fleet,
) -> None:
    add(fleet, "other", "other")
    empty = add(fleet, "empty")
    assert place(fleet, startable=True) == (Step.LOAD, empty)


def test_one_is_started_before_a_model_is_taken_away(fleet: Fleet) -> None:
    other = add(fleet, "other", "other")
    assert place(fleet, startable=True) == (Step.START, None)
    assert place(fleet) == (Step.LOAD, other)


def test_of_the_idle_ones_the_one_used_longest_ago_loads(fleet: Fleet) -> None:
    used(add(fleet, "one", "a"), 2)
    two = used(add(fleet, "two", "c"), 1)
    assert place(fleet) == (Step.LOAD, two)


def test_a_surplus_replica_goes_before_the_last_worker_of_a_model(fleet: Fleet) -> None:
    used(add(fleet, "last", "a"), 1)
    used(add(fleet, "first", "c", now=0), 2)
    surplus = used(add(fleet, "surplus", "c", now=1), 3)
    assert place(fleet) == (Step.LOAD, surplus)


def test_an_idle_worker_loads_before_a_busy_one_that_was_used_longer_ago(fleet: Fleet) -> None:
    used(busy(fleet, add(fleet, "busy", "a")), 0)
    idle = used(add(fleet, "idle", "c"), 9)
    assert place(fleet) == (Step.LOAD, idle)


def test_when_all_are_busy_the_one_that_holds_its_model_for_longest_makes_room(
    fleet: Fleet,
) -> None:
    old, new = add(fleet, "old", "a", now=0), add(fleet, "new", "c", now=1)
    for number, worker in enumerate((old, new)):
        busy(fleet, worker, number)
    assert place(fleet, switch=False) == (Step.WAIT, None), "not before it had its turn"
    assert place(fleet) == (Step.DRAIN, old)
    fleet.drain(old, ("b", "m"))
    assert place(fleet) == (Step.WAIT, None), "one is enough"
    fleet.release(old, 0, NOW)
    assert place(fleet) == (Step.LOAD, old)


def test_a_worker_whose_answers_cannot_be_parked_makes_room_only_if_no_other_can(
    fleet: Fleet,
) -> None:
    endless, long, short = (add(fleet, name, name) for name in ("endless", "long", "short"))
    for number, worker in enumerate((endless, long, short)):
        busy(fleet, worker, number)
    fleet.drain(endless, ("b", "m"))
    assert place(fleet) == (Step.WAIT, None), "a second one would not be better"
    long.resumable = True
    assert place(fleet, switch=False) == (Step.WAIT, None)
    assert place(fleet) == (Step.DRAIN, long)
    fleet.drain(long, ("b", "m"))
    assert not endless.draining, "one is enough"
    fleet.stop_draining(long)
    assert place(fleet) == (Step.DRAIN, long), "also when it is the first to be asked"


def test_nobody_waits_for_a_busy_worker_when_another_one_is_idle(fleet: Fleet) -> None:
    drained, other = (busy(fleet, add(fleet, name, name)) for name in ("drained", "other"))
    fleet.drain(drained, ("b", "m"))
    fleet.release(other, 1, NOW)
    assert place(fleet) == (Step.LOAD, other)
    fleet.start_loading(other, "m", NOW)
    assert not drained.draining


def test_two_models_that_are_wanted_drain_two_workers(fleet: Fleet) -> None:
    one, two = (busy(fleet, add(fleet, name, name)) for name in ("x", "y"))
    fleet.drain(one, ("b", "m"))
    assert place(fleet, "n") == (Step.DRAIN, two)
    fleet.drain(two, ("b", "n"))
    assert place(fleet, "o") == (Step.WAIT, None)


def test_a_model_that_is_being_loaded_is_waited_for(fleet: Fleet) -> None:
    add(fleet, "empty")
    fleet.start_loading(add(fleet, "loads"), "m", NOW)
    assert place(fleet, startable=True) == (Step.WAIT, None)


def test_a_loading_worker_loads_nothing_else_and_a_retiring_one_is_nobody(fleet: Fleet) -> None:
    loads, goes = add(fleet, "loads", "a"), add(fleet, "goes", "c")
    fleet.start_loading(loads, "other", NOW)
    fleet.retire(goes, NOW)
    assert place(fleet) == (Step.WAIT, None)


def test_another_binding_is_another_world_while_there_is_memory(fleet: Fleet) -> None:
    add(fleet, "other", "x", binding="c")
    assert place(fleet) == (Step.WAIT, None)
    assert place(fleet, startable=True) == (Step.START, None)


def test_a_worker_does_not_go_back_to_its_last_model_before_the_load_was_worth_it(
    fleet: Fleet,
) -> None:
    worker = add(fleet, "w", "m")
    fleet.start_loading(worker, "a", NOW - 5)
    fleet.loaded(worker, Loaded(1, "a", 0), NOW - 1)
    used(worker, NOW - 1)
    assert place(fleet, "m") == (Step.WAIT, None), "its clients are between two requests"
    assert place(fleet, "n") == (Step.LOAD, worker)
    used(worker, NOW - 4)
    assert place(fleet, "m") == (Step.LOAD, worker)


# As many models as may be.


def test_of_as_many_models_as_may_be_one_is_replaced(fleet: Fleet) -> None:
    used(add(fleet, "one", "a"), 2)
    assert place(fleet, policy=AUTOMATIC, startable=True) == (Step.START, None)
    two = used(add(fleet, "two", "c"), 1)
    add(fleet, "empty")
    assert place(fleet, policy=AUTOMATIC, startable=True) == (Step.LOAD, two)


def test_a_model_of_another_binding_is_stopped_for_one_too_many(fleet: Fleet) -> None:
    used(add(fleet, "one", "a"), 2)
    other = used(add(fleet, "two", "x", binding="c"), 1)
    assert place(fleet, policy=AUTOMATIC) == (Step.STOP, other)


def test_a_worker_of_a_binding_with_a_fixed_number_is_not_stopped_for_one_too_many(
    fleet: Fleet,
) -> None:
    policy = replace(AUTOMATIC, processes=lambda binding: int(binding == "c"), max_models=1)
    used(add(fleet, "fixed", "x", binding="c"), 1)
    mine = used(add(fleet, "mine", "a"), 2)
    assert place(fleet, policy=policy) == (Step.LOAD, mine)


def test_to_have_one_model_less_its_last_worker_goes_and_not_a_replica(fleet: Fleet) -> None:
    for name in ("one", "two"):
        used(add(fleet, name, "a"), 1)
    sole = used(add(fleet, "sole", "c"), 2)
    assert place(fleet, policy=AUTOMATIC) == (Step.LOAD, sole)


def test_if_all_models_have_replicas_these_are_stopped_first(fleet: Fleet) -> None:
    add(fleet, "one", "a", now=0)
    replica = add(fleet, "two", "a", now=1)
    policy = replace(AUTOMATIC, max_models=1)
    assert place(fleet, policy=policy) == (Step.STOP, replica)


def test_where_nobody_can_be_stopped_the_number_of_models_does_not_matter(fleet: Fleet) -> None:
    policy = replace(AUTOMATIC, max_models=1)
    other = add(fleet, "other", "x", binding="c")
    assert place(fleet, policy=policy, stays=[other], startable=True) == (Step.START, None)


def test_a_machine_that_joined_takes_a_model_beyond_those_here(fleet: Fleet) -> None:
    add(fleet, "one", "a")
    add(fleet, "two", "c")
    guest = remote(fleet, "guest", "host")
    assert place(fleet, policy=AUTOMATIC) == (Step.LOAD, guest)


# Short memory.


def test_for_what_does_not_fit_the_idle_model_used_longest_ago_goes_of_whatever_binding(
    fleet: Fleet,
) -> None:
    empty = add(fleet, "empty")
    used(add(fleet, "mine", "a"), 2)
    other = used(add(fleet, "other", "x", binding="c"), 1)
    assert place(fleet, tried=[empty], startable=True) == (Step.STOP, other)
    used(other, 3)
    step, worker = place(fleet, tried=[empty], startable=True)
    assert step is Step.LOAD and worker and worker.model == "a"


def test_what_does_not_fit_in_place_of_one_model_takes_another_too(fleet: Fleet) -> None:
    one, two = used(add(fleet, "one", "a"), 1), used(add(fleet, "two", "c"), 2)
    assert place(fleet, tried=[one]) == (Step.LOAD, two)
    assert place(fleet, tried=[one, two]) == (Step.STOP, one)


def test_what_does_not_fit_even_alone_has_no_hope(fleet: Fleet) -> None:
    only = add(fleet, "only", "a")
    empty = add(fleet, "empty")
    assert place(fleet, tried=[only, empty]) == (Step.FAIL, None)
    fleet.lose(only.identity)
    assert place(fleet, tried=[empty]) == (Step.FAIL, None)


def test_a_model_that_is_being_loaded_may_go_afterwards(fleet: Fleet) -> None:
    fleet.start_loading(add(fleet, "loads"), "other", NOW)
    empty = add(fleet, "empty")
    assert place(fleet, tried=[empty]) == (Step.WAIT, None)


def test_memory_that_a_stopped_worker_frees_is_waited_for(fleet: Fleet) -> None:
    empty = add(fleet, "empty")
    fleet.retire(add(fleet, "goes", "a"), NOW)
    assert place(fleet, tried=[empty]) == (Step.WAIT, None)


def test_who_cannot_be_stopped_frees_no_memory(fleet: Fleet) -> None:
    empty, other = add(fleet, "empty"), add(fleet, "other", "x", binding="c")
    assert place(fleet, tried=[empty], stays=[other]) == (Step.FAIL, None)


def test_what_does_not_fit_on_another_machine_takes_nothing_from_this_one(fleet: Fleet) -> None:
    guest = remote(fleet, "guest", "host")
    add(fleet, "other", "x", binding="c")
    assert place(fleet, tried=[guest], startable=True) == (Step.START, None)
    assert place(fleet, tried=[guest]) == (Step.FAIL, None)


def test_a_model_that_is_only_elsewhere_loads_there_or_nowhere(fleet: Fleet) -> None:
    add(fleet, "empty")
    assert place(fleet, remote_only=True) == (Step.GONE, None)
    remote(fleet, "has another", "host", other=1)
    assert place(fleet, remote_only=True) == (Step.GONE, None)
    guest = busy(fleet, remote(fleet, "guest", "host", m=1))
    assert place(fleet, remote_only=True) == (Step.WAIT, None)
    fleet.release(guest, 1, NOW)
    assert place(fleet, remote_only=True) == (Step.LOAD, guest)


def test_what_is_held_for_another_model_is_not_taken(fleet: Fleet) -> None:
    add(fleet, "empty")
    add(fleet, "idle", "a")
    assert place(fleet, held=True) == (Step.WAIT, None)
    guest = remote(fleet, "guest", "host")
    assert place(fleet, held=True) == (Step.LOAD, guest)
