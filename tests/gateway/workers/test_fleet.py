"""The fleet's state changes by its verbs, and says who holds, loads or drains what."""

import pytest

from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Heartbeat, Hello, Loaded


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def add(
    fleet: Fleet, name: str, model: str = "", *, slots: int = 2, binding: str = "b", now: float = 0
) -> Worker:
    hello = Hello(protocol=0, binding=binding, pid=7, slots=slots, model=model)
    return fleet.join(f"{binding}.7.{name}".encode(), hello, now)


def remote(fleet: Fleet, name: str, host: str, **models: int) -> Worker:
    hello = Hello(protocol=0, binding="b", pid=7, slots=1, host=host, models=models)
    return fleet.join(f"b.7.{name}".encode(), hello, 0, entry=name)


def loads(fleet: Fleet, worker: Worker, model: str, mapped: int) -> None:
    fleet.start_loading(worker, model, 0)
    fleet.loaded(worker, Loaded(1, model, 0, mapped=mapped), 0)


def test_each_file_that_others_map_counts_once(fleet: Fleet) -> None:
    one, two, three, mine = (add(fleet, name) for name in ("one", "two", "three", "mine"))
    other = add(fleet, "other", binding="c")
    for worker, model in ((one, "m"), (two, "m"), (other, "m")):
        loads(fleet, worker, model, 100)
    loads(fleet, three, "n", 10)
    loads(fleet, mine, "o", 1)
    assert fleet.mapped_beside(mine) == 210
    assert fleet.mapped_beside(one) == 100 + 10 + 1 + 100
    fleet.lose(three.identity)
    assert fleet.mapped_beside(mine) == 200


def test_the_file_of_a_running_load_counts_and_its_own_does_not(fleet: Fleet) -> None:
    one, two = add(fleet, "one"), add(fleet, "two")
    loads(fleet, one, "m", 100)
    fleet.start_loading(two, "m", 0)
    assert fleet.mapped_beside(two) == 0, "it shares the pages of the other"
    fleet.start_loading(one, "n", 0)
    assert fleet.mapped_beside(two) == 0
    fleet.expect_mapped(one, 30)
    assert fleet.mapped_beside(two) == 30
    fleet.load_failed(two)
    assert fleet.mapped_beside(two) == 130, "the model before stays until the load has ended"
    fleet.load_failed(one)
    assert fleet.mapped_beside(two) == 100
    fleet.unload(one)
    assert fleet.mapped_beside(two) == 0


def test_what_a_worker_mapped_before_the_gateway_restarted_counts(fleet: Fleet) -> None:
    fleet.join(b"b.7.one", Hello(0, "b", 7, 1, model="m", mapped=100), 0)
    fleet.join(b"b.7.two", Hello(0, "b", 7, 1, mapped=100), 0)
    assert fleet.mapped_beside(add(fleet, "mine")) == 100


def test_machines_do_not_share_memory(fleet: Fleet) -> None:
    here, rack, same_rack = add(fleet, "h"), remote(fleet, "r", "rack"), remote(fleet, "s", "rack")
    far = remote(fleet, "f", "far")
    for worker, mapped in ((here, 1), (rack, 10), (far, 100)):
        loads(fleet, worker, worker.name, mapped)
    mine = add(fleet, "mine")
    assert [fleet.mapped_beside(w) for w in (mine, same_rack, far)] == [1, 10, 0]


def test_a_remote_worker_has_what_it_lists_or_anything(fleet: Fleet) -> None:
    lists, silent = remote(fleet, "l", "rack", m=1), remote(fleet, "s", "rack")
    hello = Hello(0, "b", 7, 1, models={"forged": 1})
    local = fleet.join(b"b.7.w", hello, 0)
    assert lists.has("m") and not lists.has("n")
    assert silent.has("m") and local.has("m") and local.has("forged")
    assert local.models == {}


def test_models_of_remote_workers_name_their_machines_once(fleet: Fleet) -> None:
    remote(fleet, "a", "rack", m=1, n=2)
    remote(fleet, "b", "rack", m=1)
    gone = remote(fleet, "c", "far", m=1, o=3)
    assert fleet.remote_models("b") == {
        "m": (1, ["rack", "far"]), "n": (2, ["rack"]), "o": (3, ["far"]),
    }  # fmt: skip
    fleet.lose(gone.identity)
    assert fleet.remote_models("b") == {"m": (1, ["rack"]), "n": (2, ["rack"])}
    assert fleet.remote_models("c") == {}


def test_slots_below_one_are_one(fleet: Fleet) -> None:
    worker = add(fleet, "w")
    fleet.loaded(worker, Loaded(1, "m", 0, slots=0), 0)
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
    fleet.start_loading(worker, "comes", 0)
    fleet.drain(worker, ("b", "later"))
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
