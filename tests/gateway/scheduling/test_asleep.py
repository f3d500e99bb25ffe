"""A model that was unloaded on purpose is asleep, until it is loaded again or fails."""

from gateway.scheduling.asleep import Asleep
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Hello, Loaded

A, B = ("b", "a"), ("b", "b")


def joined(fleet: Fleet, asleep: Asleep, name: str, model: str) -> Worker:
    hello = Hello(protocol=0, binding="b", pid=7, slots=1, model=model)
    worker = fleet.join(name.encode(), hello, 0)
    asleep.joined(worker)
    return worker


def lost(fleet: Fleet, asleep: Asleep, worker: Worker) -> None:
    fleet.lose(worker.identity)
    asleep.lost(worker)


def replaced(fleet: Fleet, asleep: Asleep, worker: Worker, model: str) -> None:
    fleet.start_loading(worker, model, 0)
    asleep.unloaded(worker)


def test_what_was_replaced_sleeps_from_the_start_of_the_load_and_no_model_beside_it() -> None:
    fleet = Fleet()
    asleep = Asleep(fleet)
    worker = joined(fleet, asleep, "one", "a")
    joined(fleet, asleep, "two", "b")
    assert asleep == set()
    replaced(fleet, asleep, worker, "c")
    assert asleep == {A} and A in asleep and B not in asleep and len(asleep) == 1
    fleet.loaded(worker, Loaded(1, "c", 0, slots=1), 1)
    assert asleep == {A}
    fleet.loaded(worker, Loaded(2, "a", 0, slots=1), 2)
    assert asleep == set()


def test_a_load_that_fails_leaves_awake_what_the_worker_still_holds() -> None:
    fleet = Fleet()
    asleep = Asleep(fleet)
    worker = joined(fleet, asleep, "one", "a")
    replaced(fleet, asleep, worker, "c")
    fleet.load_failed(worker)
    assert asleep == set()
    lost(fleet, asleep, worker)
    assert asleep == set(), "its worker crashed: it is missing"


def test_a_replica_keeps_its_model_awake() -> None:
    fleet = Fleet()
    asleep = Asleep(fleet)
    one, two = (joined(fleet, asleep, name, "a") for name in ("one", "two"))
    fleet.retire(one, 0)
    lost(fleet, asleep, one)
    assert asleep == set()
    fleet.retire(two, 0)
    lost(fleet, asleep, two)
    assert asleep == {A}
    joined(fleet, asleep, "three", "")
    assert asleep == {A}, "an empty worker holds it no more than none"
    joined(fleet, asleep, "four", "a")
    assert asleep == set()


def test_a_stop_of_an_empty_worker_puts_nothing_to_sleep() -> None:
    fleet = Fleet()
    asleep = Asleep(fleet)
    worker = joined(fleet, asleep, "one", "")
    fleet.retire(worker, 0)
    lost(fleet, asleep, worker)
    assert asleep == set()


def test_what_cannot_be_loaded_again_is_missing_and_sleeps_no_more() -> None:
    fleet = Fleet()
    asleep = Asleep(fleet)
    for name, model in (("one", "a"), ("two", "b"), ("three", "c")):
        worker = joined(fleet, asleep, name, model)
        fleet.retire(worker, 0)
        lost(fleet, asleep, worker)
    asleep.failed("b", "a")
    assert asleep == {B, ("b", "c")}
    asleep.failed("another", None)
    assert asleep == {B, ("b", "c")}
    asleep.failed("b", None)
    assert asleep == set()
