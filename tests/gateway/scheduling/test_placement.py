"""How many models are loaded, and when a model gets one more worker."""

import pytest

from gateway.scheduling.placement import Step, is_limited, loaded_models, replica_for
from gateway.scheduling.policy import Policy
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from tests.gateway.workers.test_fleet import add, remote

KEY = "b", "m"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def place(
    fleet: Fleet, *, replicas: int = 0, processes: int = 9, max_models: int = 3,
    startable: bool = True, cores: int = 64,
) -> tuple[Step, Worker | None]:  # fmt: skip
    policy = Policy(
        replicas=lambda binding, model: replicas, processes=lambda binding: processes,
        max_models=max_models,
    )  # fmt: skip
    return replica_for(fleet, KEY, policy, startable=startable, cores=cores)


def test_an_empty_worker_takes_a_replica_before_one_is_started(fleet: Fleet) -> None:
    add(fleet, "full", "m")
    assert place(fleet) == (Step.START, None)
    empty = add(fleet, "empty")
    assert place(fleet) == (Step.LOAD, empty)


def test_without_cores_for_it_there_is_no_replica_here(fleet: Fleet) -> None:
    add(fleet, "full", "m")
    add(fleet, "empty")
    assert place(fleet, cores=7) == (Step.WAIT, None)
    assert place(fleet, cores=8)[0] is Step.LOAD
    assert place(fleet, cores=1, replicas=2)[0] is Step.LOAD, "but if the settings say so"
    assert place(fleet, cores=0, replicas=2) == (Step.WAIT, None), "nothing is to be had here"


def test_a_joined_machine_always_takes_one(fleet: Fleet) -> None:
    add(fleet, "full", "m")
    remote(fleet, "has another", "host", other=1)
    assert place(fleet, cores=0) == (Step.WAIT, None)
    guest = remote(fleet, "guest", "host", m=1)
    assert place(fleet, cores=0) == (Step.LOAD, guest)


def test_there_are_as_many_as_the_settings_say(fleet: Fleet) -> None:
    for name in ("one", "two"):
        add(fleet, name, "m")
    add(fleet, "empty")
    assert place(fleet, replicas=2) == (Step.WAIT, None)
    assert place(fleet, replicas=3)[0] is Step.LOAD


def test_one_at_a_time(fleet: Fleet) -> None:
    add(fleet, "full", "m")
    add(fleet, "empty")
    fleet.start_loading(add(fleet, "loads"), "m", 0)
    assert place(fleet) == (Step.WAIT, None)


def test_of_other_models_only_a_surplus_replica_is_replaced(fleet: Fleet) -> None:
    add(fleet, "full", "m")
    add(fleet, "first", "x", now=0)
    assert place(fleet, startable=False) == (Step.WAIT, None)
    surplus = add(fleet, "second", "x", now=1)
    assert place(fleet, startable=False) == (Step.LOAD, surplus)
    fleet.assign(surplus, 1, 2)
    assert place(fleet, startable=False) == (Step.WAIT, None), "not while it is used"


def test_a_replica_of_a_model_from_elsewhere_is_one_more_model_here(fleet: Fleet) -> None:
    add(fleet, "other", "x")
    remote(fleet, "guest", "host").model = "m"
    assert place(fleet, processes=0, max_models=1) == (Step.WAIT, None)
    assert place(fleet, processes=0, max_models=2) == (Step.START, None)


def test_models_count_once_and_only_those_here_whose_processes_are_automatic(
    fleet: Fleet,
) -> None:
    policy = Policy(processes=lambda binding: int(binding == "fixed"), max_models=2)
    for name in ("one", "two"):
        add(fleet, name, "m")
    add(fleet, "fixed", "x", binding="fixed")
    add(fleet, "empty")
    remote(fleet, "guest", "host").model = "far"
    assert loaded_models(fleet, policy) == 1
    busy = add(fleet, "busy", "m")
    fleet.drain(busy, ("b", "soon"))
    assert loaded_models(fleet, policy) == 2, "what it makes room for"
    assert is_limited(fleet, "b", policy) and not is_limited(fleet, "fixed", policy)
    fleet.retire(busy, 0)
    assert loaded_models(fleet, policy) == 2, "until it is loaded elsewhere"
    fleet.stop_draining(busy)
    assert loaded_models(fleet, policy) == 1
