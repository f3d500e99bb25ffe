"""Workers that can be spared are stopped after a minute; the last one of a binding is not."""

import pytest

from gateway.scheduling.idle_limit import SPARE_SECONDS, idle_limit
from gateway.scheduling.policy import Policy
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Hello, Loaded

AUTOMATIC = Policy(processes=lambda binding: 0)
FIXED = Policy(processes=lambda binding: 4)


def joined(fleet: Fleet, name: str, model: str = "", entry: str = "", since: float = 0) -> Worker:
    worker = fleet.join(name.encode(), Hello(protocol=0, binding="b", pid=7, slots=1), 0, entry)
    if model:
        fleet.loaded(worker, Loaded(1, model, 0, slots=1), since)
    return worker


@pytest.mark.parametrize("policy", [AUTOMATIC, FIXED])
def test_the_younger_replica_goes_whatever_the_settings_say(policy: Policy) -> None:
    fleet = Fleet()
    old, young = joined(fleet, "old", "m", since=1), joined(fleet, "young", "m", since=2)
    for keep_alive, expected in ((0.0, SPARE_SECONDS), (3600.0, SPARE_SECONDS), (5.0, 5.0)):
        assert idle_limit(fleet, young, policy, keep_alive) == expected
        assert idle_limit(fleet, old, policy, keep_alive) == keep_alive


def test_an_empty_worker_goes_if_its_binding_has_as_many_as_are_needed() -> None:
    fleet = Fleet()
    empty = joined(fleet, "empty")
    assert idle_limit(fleet, empty, AUTOMATIC, 0) == 0, "it is the last one"
    joined(fleet, "other", "m")
    assert idle_limit(fleet, empty, AUTOMATIC, 0) == SPARE_SECONDS
    assert idle_limit(fleet, empty, FIXED, 0) == 0, "so many are wanted"


def test_of_two_that_can_be_spared_one_stays() -> None:
    fleet = Fleet()
    one, two = joined(fleet, "one"), joined(fleet, "two")
    assert idle_limit(fleet, one, AUTOMATIC, 0) == SPARE_SECONDS
    fleet.retire(one, 0)
    assert idle_limit(fleet, two, AUTOMATIC, 0) == 0


def test_workers_on_other_machines_are_theirs_and_replace_no_last_one_here() -> None:
    fleet = Fleet()
    guest = joined(fleet, "guest", "m", "rack7", since=1)
    here = joined(fleet, "here", "m", since=2)
    assert idle_limit(fleet, here, AUTOMATIC, 0) == 0
    joined(fleet, "another", "n")
    assert idle_limit(fleet, here, AUTOMATIC, 0) == SPARE_SECONDS
    fleet.loaded(guest, Loaded(1, "n", 0, slots=1), 9)
    assert idle_limit(fleet, guest, AUTOMATIC, 0) == 0
