"""Operators see who has slots and who waits, by model and by owner, and no client's address."""

from gateway.scheduling.actions import Serve
from gateway.scheduling.census import ModelShare, OwnerShare, census
from gateway.scheduling.policy import Policy
from gateway.scheduling.queue import RequestQueue
from gateway.scheduling.turns import Waiter
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Hello, Loaded

A, B, C = ("b", "a"), ("b", "b"), ("b", "c")


def joined(fleet: Fleet, name: str, model: str, since: float, slots: int = 1) -> Worker:
    worker = fleet.join(name.encode(), Hello(protocol=0, binding="b", pid=7, slots=slots), 0)
    if model:
        fleet.loaded(worker, Loaded(1, model, 0, slots=slots), since)
    return worker


def generation(model: str, owner: str) -> Waiter:
    return Waiter(binding="b", model=model, slot=True, owner=owner, session=owner)


def test_an_empty_server_has_nothing() -> None:
    fleet = Fleet()
    joined(fleet, "w", "", 0)
    found = census(fleet, RequestQueue(fleet, Policy()), {})
    assert (found.models, found.holders, found.addresses) == ({}, {}, 0)
    assert found.running == 0 and found.nameless == OwnerShare()


def test_slots_replicas_and_what_waits_are_counted_by_model() -> None:
    fleet = Fleet()
    queue = RequestQueue(fleet, Policy())
    joined(fleet, "old", "a", 1, slots=2)
    joined(fleet, "young", "a", 2)
    fleet.start_loading(joined(fleet, "other", "c", 3), "b", 4)
    for owner in ("alice", "alice", "address 1.2.3.4", "bob"):
        queue.join(generation("a", owner))
    queue.join(generation("b", "bob"))
    queue.join(Waiter(binding="b", model="c"))
    served = [each for each in queue.schedule(5) if isinstance(each, Serve)]
    assert len(served) == 3
    found = census(fleet, queue, {})
    assert found.models == {
        A: ModelShare(["old", "young"], ["young"], slots=3, used=3, waiting=1),
        B: ModelShare(loading=1, waiting=1),
    }, "what needs no slot is not counted"
    assert found.running == 3


def test_owners_are_named_by_their_tokens_or_only_counted() -> None:
    fleet = Fleet()
    queue = RequestQueue(fleet, Policy())
    joined(fleet, "w", "a", 1, slots=3)
    for owner in ("alice", "address 1.2.3.4", "bob", "alice", "address 1.2.3.4", "address "):
        queue.join(generation("a", owner))
    queue.schedule(2)
    found = census(fleet, queue, {"carol": 2, "address 5.6.7.8": 1})
    assert found.holders == {
        "alice": OwnerShare(running=1, waiting=1),
        "bob": OwnerShare(running=1),
        "carol": OwnerShare(parked=2),
    }
    assert found.addresses == 3
    assert found.nameless == OwnerShare(running=1, waiting=2, parked=1)
    assert found.running == 3


def test_a_worker_that_is_being_stopped_offers_no_slot() -> None:
    fleet = Fleet()
    fleet.retire(joined(fleet, "w", "a", 1), 2)
    assert census(fleet, RequestQueue(fleet, Policy()), {}).models == {}
