"""The request queue: who is served next, and what has to happen before.

Each model has a queue of its own. The dispatcher calls `schedule` on every change, and
`preempt` several times a second while requests wait, and executes the actions that these return.
A pass costs as much as there are models with waiting requests, whatever the number of these.
Times come in as arguments, in seconds.
"""

from collections.abc import Iterator

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
from gateway.scheduling.circuit_breaker import CircuitBreaker
from gateway.scheduling.departures import Departures
from gateway.scheduling.limits import Limits
from gateway.scheduling.model_queue import ModelQueue
from gateway.scheduling.placement import Step, is_limited, replica_for
from gateway.scheduling.policy import Policy
from gateway.scheduling.preemption import displaced, drained, may_switch, unchecked
from gateway.scheduling.room import Room, room_for
from gateway.scheduling.shortage import Shortage
from gateway.scheduling.turns import Turn, Turns, Waiter
from gateway.scheduling.worker_choice import WorkerChoice, least_busy
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Key, Worker

RETRY = 2.0
"""Seconds until a model that did not fit into memory is tried again, the first time."""
REPLICA_AFTER = 0.2
"""Seconds that generations wait for a slot before one more worker loads the model."""


class RequestQueue:
    def __init__(self, fleet: Fleet, policy: Policy, cores: int = 1) -> None:
        """`cores` of this machine."""
        self.circuits = CircuitBreaker()
        """Starts and loads that failed, and are not tried again for a while."""
        self.full: set[str] = set()
        """Bindings whose allowed processes all run: no other can be started."""
        self.limits = Limits(policy)
        self.worker_choice = WorkerChoice()
        self.turns = Turns()
        self._fleet = fleet
        self._policy = policy
        self._cores = cores
        self._queues: dict[Key, ModelQueue] = {}
        """Those in which something waits; the model that waits longest for a worker first."""
        self._shortage = Shortage()
        self._departures = Departures()

    # What waits.

    @property
    def waiting(self) -> int:
        """Generations that wait for a slot."""
        return sum(len(queue.generations) for queue in self._queues.values())

    @property
    def empty(self) -> bool:
        """Nothing waits, not even for a model."""
        return not self._queues

    def queues(self) -> Iterator[tuple[Key, ModelQueue]]:
        """All models for which something waits. They must not change meanwhile."""
        return iter(self._queues.items())

    def wants(self, binding: str) -> bool:
        """Whether some request waits for a model of the binding that no worker serves."""
        return any(
            key[0] == binding and key[1] and not self._fleet.holders(*key) for key in self._queues
        )

    def join(self, waiter: Waiter) -> None:
        self._queues.setdefault(waiter.key, ModelQueue()).add(waiter)
        self.limits.add(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Remove it, if it still waits."""
        queue = self._queues.get(waiter.key)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        self.limits.remove(waiter)
        if not queue:
            del self._queues[waiter.key]

    def overflow(self, waiter: Waiter) -> Reject | None:
        """After a pass over a new waiter: the request that has to go because too many wait.

        If an owner has too many that is the new one. If there are too many of all owners, it is
        the newest of the owner who has the most.
        """
        queue = self._queues.get(waiter.key)
        if not waiter.limited or queue is None or waiter not in queue:
            return None
        if self.limits.exceeded_by(waiter):
            return self._reject(waiter, Busy())
        if not self.limits.crowded:
            return None
        return self._reject(self.limits.newest_of_largest(), Busy())

    # What happens next.

    def schedule(self, now: float) -> list[Action]:
        """One pass over all models for which requests wait."""
        self._shortage.keep(self._queues)
        behind: set[Key] = set()
        if large := self._makes_room():
            keys = list(self._queues)
            behind = set(keys[keys.index(large) + 1 :])
        for worker in self._fleet.all():
            key = worker.draining
            if key and (key not in self._queues or key in behind or self._fleet.open_holders(key)):
                self._fleet.stop_draining(worker)
        actions = self._serve_all(now)
        # Only now: a worker that serves somebody is not idle.
        for key, queue in list(self._queues.items()):
            next_step = self._next_step(key, queue, now, held=key in behind)
            actions += self._take(*next_step, key, queue, now)
        return actions + self._serve_all(now)  # a worker may not have to make room any more

    def _serve_all(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for key, queue in list(self._queues.items()):
            if holders := self._fleet.open_holders(key):
                actions += self._serve(queue, holders, now)
                if not queue:
                    del self._queues[key]
        return actions

    def _makes_room(self) -> Key | None:
        """The model that others have to go for: what becomes free on this machine is for it."""
        large = (key for key in self._queues if self._shortage.makes_room(key))
        return next((key for key in large if not self._fleet.open_holders(key)), None)

    def preempt(self, now: float) -> list[Action]:
        """The turns that end now for those who wait."""
        chosen: list[Turn] = []
        for turn in self.turns if self._queues else ():
            turn.look()
        for worker in self._fleet.all():
            if worker.draining:
                chosen += drained(self.turns.of([worker]), now, self._policy)
        for key, queue in self._queues.items():
            if key[1] and (workers := self._fleet.open_holders(key)):
                turns = self.turns.of(workers)
                # All that is not a steady turn has ended, or ends in a moment.
                steady = sum(not turn.parking for turn in turns)
                ending = sum(worker.slots for worker in workers) - steady
                waiting = queue.generations.peek(len(turns) + max(0, ending))
                chosen += displaced(turns, waiting, ending, now, self._policy)
        for turn in chosen:
            turn.parking, turn.unread = True, turn.stalled(now, self._policy)
        asked = unchecked(self.turns, now, self._policy) if self._queues else []
        return [*map(Park, chosen), *map(CheckReader, asked)]

    def end_turn(self, turn: Turn) -> None:
        self.turns.end(turn)

    def load_unasked(self, worker: Worker, model: str, now: float) -> list[LoadModel]:
        """Load a model that nobody waits for, if a new worker has nothing better to do."""
        key = worker.binding, model
        if not (model and worker.has(model)) or self._fleet.expected(*key):
            return []
        limited = self._makes_room() or is_limited(self._fleet, worker.binding, self._policy)
        held = limited and not worker.remote
        return [] if held or self.circuits.open(key, now) else [self.load(worker, model, now)]

    def load(self, worker: Worker, model: str, now: float) -> LoadModel:
        self._fleet.start_loading(worker, model, now)
        self.worker_choice.forget(worker)  # now: when it has loaded, the next pass comes first
        return LoadModel(worker, model)

    def reject(
        self, error: Exception, binding: str, model: str | None = None,
        *, slots: bool = True, now: float = 0.0,
    ) -> list[Reject]:  # fmt: skip
        """Remove all requests for this model, or with None for any model of the binding. Without
        `slots`, generations stay; so do those that are patient."""
        hopeless = [
            waiter
            for key, queue in self._queues.items()
            if key[0] == binding and model in (None, key[1])
            for waiter in queue
            if (slots or not waiter.slot) and waiter.patient_until <= now
        ]
        return [self._reject(waiter, error) for waiter in hopeless]

    # What has happened.

    def no_memory(self, worker: Worker, model: str, error: str) -> None:
        """The model did not fit into memory beside what is loaded; the worker is as before."""
        self._shortage.add(worker, model, error)

    def changed(self, worker: Worker) -> None:
        """It is gone, or has loaded another model: memory may be free."""
        self._shortage.changed()
        if self._fleet.find(worker.identity) is not worker:
            self.worker_choice.forget(worker)
        elif worker.key in self._queues:
            self._shortage.end(worker.key)
            self._queues[worker.key] = self._queues.pop(worker.key)  # it has had its turn
        self._departures.end(worker)

    def not_stopped(self, worker: Worker) -> None:
        """It could not be stopped: it serves again, and no other model counts on it."""
        self._departures.fail(worker)
        self._fleet.stop_draining(worker)

    # One model.

    def _next_step(
        self, key: Key, queue: ModelQueue, now: float, *, held: bool
    ) -> tuple[Step, Worker | None]:
        """`held`: what becomes free on this machine is for another model."""
        here = any(not worker.remote for worker in self._fleet.of(key[0]))
        full = here and key[0] in self.full
        startable = not (held or full or queue.remote_only)
        if not key[1]:
            return Step.START if startable else Step.WAIT, None
        if self._fleet.open_holders(key):
            return self._replica(key, queue, now, startable=startable, held=held)
        if self._departures.make_room_for(key):
            return Step.WAIT, None
        room = Room(
            startable=startable,
            tried=self._shortage.tried(key),
            stoppable=self._departures.may_begin,
            may_switch=lambda each: may_switch(each, self.turns.of([each]), now, self._policy),
            now=now,
            held=held,
            remote_only=queue.remote_only,
        )
        return room_for(self._fleet, key, self._policy, room)

    def _serve(self, queue: ModelQueue, holders: list[Worker], now: float) -> Iterator[Action]:
        for waiter in list(queue.others):
            queue.remove(waiter)
            worker = least_busy(holders)
            self._fleet.reserve(worker, slot=False)
            yield Serve(waiter, worker)
        while queue.generations and (free := [w for w in holders if w.has_room]):
            waiter = queue.pop()
            self.limits.remove(waiter)
            worker = self.worker_choice.choose(waiter, free) if len(holders) > 1 else free[0]
            self._fleet.reserve(worker)
            yield Serve(waiter, worker, self.turns.begin(waiter, worker, now))
        queue.note_served(now)

    def _replica(
        self, key: Key, queue: ModelQueue, now: float, *, startable: bool, held: bool
    ) -> tuple[Step, Worker | None]:
        early = queue.full_for(now) < REPLICA_AFTER
        if early or self.circuits.open(key, now) or self._shortage.tried(key):
            return Step.WAIT, None
        cores = 0 if held else self._cores
        return replica_for(self._fleet, key, self._policy, startable=startable, cores=cores)

    def _take(
        self, step: Step, worker: Worker | None, key: Key, queue: ModelQueue, now: float
    ) -> list[Action]:
        if not queue.insists and step in (Step.START, Step.LOAD):
            start = step is Step.START
            error = self.circuits.refusal(key, now, start=start, patient=queue.patient)
            if error:
                return list(self.reject(error, *key, now=now))
        match step, worker:
            case Step.START, _:
                return [StartWorker(key[0], queue.insists, queue.patient)]
            case Step.LOAD, Worker():
                return [self.load(worker, key[1], now)]
            case Step.STOP, Worker():
                self._fleet.drain(worker, key)
                self._fleet.retire(worker, now)
                self._departures.begin(worker, key)
                return [StopWorker(worker)]
            case Step.DRAIN, Worker():
                self._fleet.drain(worker, key)
            case Step.FAIL, _:
                why = self._shortage.end(key)
                self.circuits.failed(key, why, now, RETRY, blocks_requests=True)
                return list(self.reject(LoadFailed(why), *key, now=now))
            case Step.GONE, _:
                error = NoWorker(f"no machine that has the model {key[1]} is connected")
                return list(self.reject(error, *key, now=now))
        return []

    def _reject(self, waiter: Waiter, error: Exception) -> Reject:
        self.leave(waiter)
        return Reject(waiter, error)
