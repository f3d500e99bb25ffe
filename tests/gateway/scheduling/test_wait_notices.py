"""What waiting requests are told of their places and of the models that they need."""

from gateway.scheduling.notices import ModelStatus, Notice, Queued
from gateway.scheduling.policy import Policy
from gateway.scheduling.queue import RequestQueue
from gateway.scheduling.turns import Waiter
from gateway.scheduling.wait_notices import PERIOD, WaitNotices
from gateway.workers.fleet import Fleet
from tests.gateway.workers.test_fleet import add


class Hall:
    def __init__(self) -> None:
        self.fleet = Fleet()
        self.queue = RequestQueue(self.fleet, Policy())
        self.notices = WaitNotices(self.fleet, self.queue)
        self.told: list[tuple[str, Notice]] = []

    def ask(self, owner: str, model: str = "m", *, slot: bool = True) -> Waiter:
        """A request that wants to be told."""
        waiter = Waiter(
            binding="b", model=model, slot=slot, owner=owner,
            notify=lambda notice: self.told.append((owner, notice)),
        )  # fmt: skip
        self.queue.join(waiter)
        self.notices.waits(waiter)
        return waiter

    def heard(self) -> list[tuple[str, Notice]]:
        """Since the last call."""
        told, self.told = self.told, []
        return told


def test_places_are_told_when_they_change_and_not_too_often() -> None:
    hall = Hall()
    add(hall.fleet, "w", "m")
    first = hall.ask("a")
    hall.queue.join(Waiter(binding="b", model="m", slot=True, owner="silent"))
    hall.ask("c")
    hall.notices.tell_positions(100.0)
    why = "all slots are in use"
    assert hall.heard() == [("a", Queued(1, 3, why)), ("c", Queued(3, 3, why))]
    hall.notices.tell_positions(100.0 + PERIOD)
    assert hall.heard() == []
    hall.queue.leave(first)
    hall.notices.tell_positions(100.0 + 1.5 * PERIOD)
    assert hall.heard() == []
    hall.notices.tell_positions(100.0 + 2 * PERIOD)
    assert hall.heard() == [("c", Queued(2, 2, why))]


def test_a_load_is_told_to_its_end_also_to_who_has_left_the_queue() -> None:
    hall = Hall()
    waiter = hall.ask("a", slot=False)
    hall.ask("other", "n")
    hall.notices.tell_model(("b", "m"), "loading", 0.5)
    hall.queue.leave(waiter)
    hall.notices.tell_model(("b", "m"), "loaded")
    hall.notices.tell_model(("b", "m"), "loading")
    loading, loaded = ModelStatus("b", "m", "loading", 0.5), ModelStatus("b", "m", "loaded")
    assert hall.heard() == [("a", loading), ("a", loaded)]


def test_the_start_of_a_worker_is_told_to_those_whose_models_nobody_serves() -> None:
    hall = Hall()
    add(hall.fleet, "w", "m")
    hall.ask("served")
    hall.ask("a", "n")
    hall.notices.tell_model(("b", ""), "starting")
    assert hall.heard() == [("a", ModelStatus("b", "n", "starting"))]
