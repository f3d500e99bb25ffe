"""Passes of the request queue: who is served, refused or parked, and what happens before."""

from collections.abc import Iterable

from gateway.errors import Busy, LoadFailed, NoWorker
from gateway.scheduling.actions import (
    Action,
    CheckReader,
    LoadModel,
    Park,
    Reject,
    Serve,
    StartWorker,
    StopWorker,
)
from gateway.scheduling.policy import Policy
from gateway.scheduling.queue import REPLICA_AFTER, RequestQueue
from gateway.scheduling.turns import Turn, Waiter
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Loaded
from tests.gateway.workers.test_fleet import add, remote


class Desk:
    """A queue, its fleet, and a clock."""

    def __init__(self, *, processes: int = 9, **policy: float) -> None:
        options = {"slice": 10.0, **policy}
        made = Policy(processes=lambda binding: processes, **options)  # type: ignore[arg-type]
        self.fleet = Fleet()
        self.queue = RequestQueue(self.fleet, made, cores=64)
        self.queue.full.add("b")
        self.now = 100.0
        self.requests = 0

    def worker(self, name: str, model: str = "", *, slots: int = 2, binding: str = "b") -> Worker:
        worker = add(self.fleet, name, model, slots=slots, binding=binding, now=self.now)
        worker.resumable = True
        return worker

    def ask(self, owner: str = "a", model: str = "m", **options: object) -> Waiter:
        options = {"slot": True, "parkable": True, "binding": "b", **options}
        waiter = Waiter(owner=owner, model=model, **options)  # type: ignore[arg-type]
        self.queue.join(waiter)
        return waiter

    def pass_(self, seconds: float = 0.0) -> list[Action]:
        self.now += seconds
        return self.queue.schedule(self.now)

    def run(self, actions: Iterable[Action]) -> list[Turn]:
        """The requests have been sent; their first tokens have come."""
        turns = []
        for action in actions:
            assert isinstance(action, Serve)
            self.requests += 1
            self.fleet.free(action.worker, slot=bool(action.turn))
            self.fleet.assign(action.worker, self.requests, self.now, slot=bool(action.turn))
            if action.turn:
                action.turn.start_seconds = 0.1
                turns.append(action.turn)
        return turns

    def preempt(self, seconds: float = 0.0) -> list[Turn]:
        """The turns that end."""
        actions = self.queue.preempt(self.now + seconds)
        return [action.turn for action in actions if isinstance(action, Park)]

    def end(self, turn: Turn) -> None:
        self.fleet.release(turn.worker, min(turn.worker.generations), self.now)
        self.queue.end_turn(turn)

    def loaded(self, action: Action) -> None:
        assert isinstance(action, LoadModel)
        self.fleet.loaded(action.worker, Loaded(1, action.model, 0, slots=2), self.now)
        self.queue.changed(action.worker)

    def no_memory(self, action: Action) -> None:
        assert isinstance(action, LoadModel)
        self.fleet.load_failed(action.worker)
        self.queue.no_memory(action.worker, action.model, "too large")


def served(actions: Iterable[Action]) -> list[str]:
    return [action.waiter.owner for action in actions if isinstance(action, Serve)]


def test_free_slots_go_round_by_owner_and_are_reserved() -> None:
    desk = Desk()
    worker = desk.worker("w", "m", slots=3)
    for owner in "aaabc":
        desk.ask(owner)
    actions = desk.pass_()
    assert served(actions) == ["a", "b", "c"]
    assert worker.reserved == 3 and not worker.has_room
    assert desk.queue.waiting == 2
    assert desk.pass_() == []
    first, *_ = desk.run(actions)
    desk.end(first)
    assert served(desk.pass_()) == ["a"]


def test_the_least_busy_worker_serves_and_prompts_go_where_their_beginning_is() -> None:
    desk = Desk()
    one, two = desk.worker("one", "m", slots=4), desk.worker("two", "m", slots=4)
    desk.ask(prefixes=lambda: [b"1"])
    desk.run(desk.pass_())
    assert (one.occupied, two.occupied) == (1, 0)
    desk.ask(prefixes=lambda: [b"2"])
    desk.run(desk.pass_())
    assert (one.occupied, two.occupied) == (1, 1)
    desk.ask(prefixes=lambda: [b"2", b"3"])
    desk.run(desk.pass_())
    assert (one.occupied, two.occupied, desk.queue.worker_choice.hits) == (1, 2, 1)


def test_who_is_served_in_the_pass_after_a_load_is_remembered() -> None:
    desk = Desk()
    one, two = desk.worker("one", "m", slots=1), desk.worker("two")
    desk.ask()
    desk.run(desk.pass_())
    first = desk.ask(prefixes=lambda: [b"1"])
    assert desk.pass_() == []
    (load,) = desk.pass_(REPLICA_AFTER)
    assert load == LoadModel(two, "m")
    desk.fleet.loaded(two, Loaded(1, "m", 0, slots=2), desk.now)
    actions = desk.pass_()  # the link reports the answer before the load is judged
    desk.queue.changed(two)
    (turn,) = desk.run(actions)
    assert turn.waiter is first and turn.worker is two
    one.slots = 9
    desk.ask(prefixes=lambda: [b"1", b"2"])
    (turn,) = desk.run(desk.pass_())
    assert turn.worker is two and desk.queue.worker_choice.hits == 1


def test_a_request_without_a_slot_is_served_by_a_full_worker() -> None:
    desk = Desk()
    worker = desk.worker("w", "m", slots=1)
    desk.run(desk.pass_() if desk.ask() else [])
    desk.ask("waits")
    desk.ask("tokenizes", slot=False)
    assert served(desk.pass_()) == ["tokenizes"]
    assert (worker.occupied, worker.promised) == (1, 1)


def test_whose_worker_died_is_first_and_no_limit_applies() -> None:
    desk = Desk(max_queue=0)
    desk.worker("w", "m", slots=1)
    desk.ask("parked", admitted=True)
    first = desk.ask("first", first=True)
    assert served(desk.pass_()) == ["first"]
    assert desk.queue.overflow(first) is None


def test_the_one_too_many_of_an_owner_is_refused_unless_it_is_served_at_once() -> None:
    desk = Desk(max_queue=1)
    desk.worker("w", "m", slots=1)
    outcomes = []
    for _ in range(3):
        waiter = desk.ask()
        desk.pass_()
        outcomes.append(desk.queue.overflow(waiter))
    *fine, refused = outcomes
    assert fine == [None, None]
    assert refused and refused.waiter is waiter and isinstance(refused.error, Busy)
    assert desk.queue.waiting == 1


def test_of_too_many_in_all_the_newest_of_who_has_the_most_goes_even_if_it_was_parked_last() -> (
    None
):
    desk = Desk(max_waiting=3)
    newest = [desk.ask("crowd") for _ in range(3)][-1]
    desk.ask("crowd", admitted=True)
    little = desk.ask("little")
    desk.pass_()
    refused = desk.queue.overflow(little)
    assert refused and refused.waiter is newest


def test_a_model_is_loaded_and_its_turn_among_the_models_ends_then() -> None:
    desk = Desk()
    worker = desk.worker("w")
    desk.ask(model="m")
    desk.ask(model="n")
    (load,) = desk.pass_()
    assert load == LoadModel(worker, "m") and worker.loading == "m"
    assert desk.pass_() == []
    desk.loaded(load)
    assert served(desk.pass_()) == ["a"]
    assert [key for key, _ in desk.queue.queues()] == [("b", "n")]


def test_a_worker_is_started_unless_the_binding_is_full() -> None:
    desk = Desk()
    desk.worker("w", "x")
    desk.queue.full.clear()
    desk.ask()
    assert desk.pass_() == [StartWorker("b", insist=False)]
    desk.queue.full.add("b")
    (load,) = desk.pass_()
    assert isinstance(load, LoadModel), "the idle one loads instead"


def test_a_full_model_gets_a_replica_when_somebody_waits_for_a_while() -> None:
    desk = Desk()
    desk.worker("w", "m", slots=1)
    empty = desk.worker("empty")
    desk.run([action for _ in range(2) if desk.ask() for action in desk.pass_()])
    assert desk.pass_(REPLICA_AFTER / 2) == []
    assert desk.pass_(REPLICA_AFTER) == [LoadModel(empty, "m")]


def test_turns_end_for_who_waits_after_their_slice() -> None:
    desk = Desk()
    desk.worker("w", "m", slots=1)
    desk.ask("a")
    (turn,) = desk.run(desk.pass_())
    desk.ask("b")
    assert desk.preempt(9) == []
    assert desk.preempt(11) == [turn]
    assert turn.parking
    assert desk.preempt(12) == [], "it is being ended"
    desk.end(turn)
    desk.ask("a", admitted=True)
    assert served(desk.pass_()) == ["b"]


def test_clients_are_asked_whether_they_read_while_others_wait() -> None:
    desk = Desk(park_after=1.0)
    desk.worker("w", "m", slots=1)
    desk.ask("a")
    (turn,) = desk.run(desk.pass_())
    assert desk.queue.preempt(desk.now) == []
    desk.ask("b")
    assert desk.queue.preempt(desk.now) == [CheckReader(turn)]
    assert desk.queue.preempt(desk.now + 0.5) == [], "it was asked a moment ago"
    turn.unread_since = desk.now
    assert desk.queue.preempt(desk.now + 1) == [Park(turn)]
    switched_off = Desk(park_after=0.0)
    switched_off.worker("w", "m", slots=1)
    switched_off.run(
        [action for _ in "ab" if switched_off.ask() for action in switched_off.pass_()]
    )
    assert switched_off.queue.preempt(switched_off.now + 1) == []


def test_a_worker_makes_room_for_another_model_after_its_turn() -> None:
    desk = Desk()
    worker = desk.worker("w", "m")
    desk.ask("a")
    (turn,) = desk.run(desk.pass_())
    desk.ask("b", "n")
    assert desk.pass_(5) == [] and not worker.draining
    assert desk.pass_(6) == [] and worker.draining == ("b", "n")
    desk.ask("late")
    assert desk.pass_() == [], "it takes no new requests, although it has a free slot"
    assert desk.preempt() == [turn]
    desk.end(turn)
    assert desk.pass_() == [LoadModel(worker, "n")]


def test_nobody_makes_room_for_what_nobody_wants_any_more_or_another_worker_serves() -> None:
    desk = Desk()
    worker = desk.worker("w", "m")
    desk.ask("a")
    desk.run(desk.pass_())
    waiter = desk.ask("b", "n")
    desk.pass_(11)
    assert worker.draining
    desk.queue.leave(waiter)
    desk.pass_()
    assert not worker.draining
    desk.ask("b", "n")
    desk.pass_()
    assert worker.draining
    desk.worker("came back", "n", slots=1)
    for _ in range(3):
        desk.ask("b", "n")
    desk.pass_()
    assert not worker.draining, "although others wait for that model still"


def test_who_would_not_stop_is_not_asked_again() -> None:
    desk = Desk(processes=0, max_models=1)
    other = desk.worker("other", "x", binding="c")
    desk.ask()
    assert desk.pass_() == [StopWorker(other)]
    assert desk.pass_() == [] and other.retiring
    desk.queue.not_stopped(other)
    desk.fleet.keep(other)
    assert desk.pass_() == [StartWorker("b", insist=False)]
    assert not (other.retiring or other.draining)


def test_what_becomes_free_is_for_the_model_that_others_have_to_go_for() -> None:
    desk = Desk()
    other = desk.worker("other", "x")
    empty = desk.worker("empty")
    desk.ask("a", "x")
    (turn,) = desk.run(desk.pass_())
    desk.ask("b", "large")
    (load,) = desk.pass_()
    desk.no_memory(load)
    desk.ask("c", "small")
    assert desk.pass_() == [], "it would fit, and waits"
    assert desk.queue.load_unasked(empty, "small", desk.now) == []
    desk.pass_(11)
    assert other.draining == ("b", "large")
    desk.end(turn)
    load, *more = desk.pass_()
    assert load == LoadModel(other, "large") and not more
    desk.loaded(load)
    actions = desk.pass_()
    assert served(actions) == ["b"] and LoadModel(empty, "small") in actions


def test_a_model_that_fits_nowhere_is_refused_and_not_tried_again_at_once() -> None:
    desk = Desk()
    desk.worker("empty")
    desk.ask()
    (load,) = desk.pass_()
    desk.no_memory(load)
    (refused,) = desk.pass_()
    assert isinstance(refused, Reject) and isinstance(refused.error, LoadFailed)
    desk.ask()
    (refused,) = desk.pass_()
    assert isinstance(refused, Reject) and "too large" in str(refused.error)
    desk.ask(slot=False, insist=True)
    assert isinstance(desk.pass_()[0], LoadModel), "but for who insists"


def test_without_a_machine_that_has_the_model_there_is_an_error_at_once() -> None:
    desk = Desk()
    desk.worker("here")
    desk.ask(remote_only=True)
    (refused,) = desk.pass_()
    assert isinstance(refused, Reject) and isinstance(refused.error, NoWorker)
    guest = remote(desk.fleet, "guest", "host", m=1)
    desk.ask(remote_only=True)
    assert desk.pass_() == [LoadModel(guest, "m")]


def test_who_is_patient_or_needs_a_slot_can_be_spared_by_an_error() -> None:
    desk = Desk()
    patient = desk.ask("patient", patient_until=200.0)
    desk.ask("generates")
    desk.ask("tokenizes", slot=False)
    error = LoadFailed("it broke")

    def rejected(now: float, *, slots: bool) -> set[str]:
        found = desk.queue.reject(error, "b", "m", slots=slots, now=now)
        return {each.waiter.owner for each in found}

    assert rejected(100, slots=False) == {"tokenizes"}
    assert rejected(100, slots=True) == {"generates"}
    assert rejected(201, slots=True) == {"patient"}
    assert desk.queue.reject(error, "b") == []
    desk.queue.leave(patient)  # it has left already
    assert desk.queue.waiting == 0


def test_a_new_worker_loads_unasked_what_was_lost_if_nothing_speaks_against_it() -> None:
    desk = Desk(processes=0, max_models=1)
    worker = desk.worker("w")
    assert desk.queue.load_unasked(worker, "", desk.now) == []
    desk.queue.circuits.failed(("b", "m"), "it broke", desk.now, 2, blocks_requests=False)
    assert desk.queue.load_unasked(worker, "m", desk.now) == []
    desk.queue.circuits.close(("b", "m"))
    assert desk.queue.load_unasked(worker, "m", desk.now) == [LoadModel(worker, "m")]
    another = desk.worker("another")
    assert desk.queue.load_unasked(another, "m", desk.now) == [], "it is being loaded"
    assert desk.queue.load_unasked(another, "n", desk.now) == [], "one model may be loaded"
