"""The request queue: who is served next, and what has to happen before.

Each model has a queue of its own. The dispatcher calls `schedule` on every change, and
`preempt` several times a second while requests wait, and executes the actions that these return.
A pass costs as much as there are models with waiting requests, whatever the number of these.
Times come in as arguments, in seconds.
"""

from collections.abc import Iterable, Iterator

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
from gateway.scheduling.limits import Limits
from gateway.scheduling.model_queue import ModelQueue
from gateway.scheduling.placement import Step, is_limited, replica_for
from gateway.scheduling.policy import Policy
from gateway.scheduling.preemption import displaced, drained, may_switch, unchecked
from gateway.scheduling.room import Room, room_for
from gateway.scheduling.turns import Turn, Waiter
from gateway.scheduling.worker_choice import WorkerChoice, least_busy
from gateway.workers.fleet import Fleet, Key, Worker

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
        self.affinity = WorkerChoice()
        self.turns: dict[Worker, set[Turn]] = {}
        """The generations that run, by their worker."""
        self._fleet = fleet
        self._policy = policy
        self._cores = cores
        self._queues: dict[Key, ModelQueue] = {}
        """Those in which something waits; the model that waits longest for a worker first."""
        self._cramped: dict[Key, tuple[str, set[Worker]]] = {}
        """Models that did not fit into memory: why, and into which workers."""
        self._leaving: dict[Key, Worker] = {}
        """Workers that are being stopped to make room."""
        self._unstoppable: set[Worker] = set()

    # What waits.

    @property
    def waiting(self) -> int:
        """Generations that wait for a slot."""
        return sum(len(queue.generations) for queue in self._queues.values())

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
        for worker in self._fleet.all():
            wanted = worker.draining
            if wanted and (wanted not in self._queues or self._open_holders(wanted)):
                self._fleet.stop_draining(worker)
        actions: list[Action] = []
        for key, queue in list(self._queues.items()):
            if holders := self._open_holders(key):
                actions += self._serve(queue, holders, now)
                if not queue:
                    del self._queues[key]
        # Only now: a worker that serves somebody is not idle.
        for key, queue in list(self._queues.items()):
            actions += self._take(*self._next_step(key, queue, now), key, queue, now)
        return actions

    def preempt(self, now: float) -> list[Action]:
        """The turns that end now for those who wait."""
        chosen: list[Turn] = []
        for worker in self._fleet.all():
            if worker.draining:
                chosen += drained(self._turns_in([worker]), now, self._policy)
        for key, queue in self._queues.items():
            if key[1] and (workers := self._open_holders(key)):
                turns = self._turns_in(workers)
                # All that is not a steady turn has ended, or ends in a moment.
                steady = sum(not turn.parking for turn in turns)
                ending = sum(worker.slots for worker in workers) - steady
                waiting = queue.generations.peek(len(turns) + max(0, ending))
                chosen += displaced(turns, waiting, ending, now, self._policy)
        for turn in chosen:
            turn.parking = True
        asked = unchecked(self._turns_in(self.turns), now, self._policy) if self._queues else []
        return [*map(Park, chosen), *map(CheckReader, asked)]

    def end_turn(self, turn: Turn) -> None:
        if turns := self.turns.get(turn.worker):
            turns.discard(turn)
            if not turns:
                del self.turns[turn.worker]

    def load_unasked(self, worker: Worker, model: str, now: float) -> list[LoadModel]:
        """Load a model that nobody waits for, if a new worker has nothing better to do."""
        key = worker.binding, model
        if not (model and worker.has(model)) or self._fleet.expected(*key):
            return []
        limited = not worker.remote and is_limited(self._fleet, worker.binding, self._policy)
        return [] if limited or self.circuits.open(key, now) else [self.load(worker, model, now)]

    def load(self, worker: Worker, model: str, now: float) -> LoadModel:
        self._fleet.start_loading(worker, model, now)
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
        _, tried = self._cramped.setdefault((worker.binding, model), (error, set()))
        tried.add(worker)

    def changed(self, worker: Worker) -> None:
        """It is gone, or has loaded another model: memory may be free."""
        self._cramped.clear()
        if worker.key in self._queues and self._fleet.find(worker.identity) is worker:
            self._queues[worker.key] = self._queues.pop(worker.key)  # it has had its turn
        self._leaving = {k: each for k, each in self._leaving.items() if each is not worker}
        self._unstoppable.discard(worker)

    def not_stopped(self, worker: Worker) -> None:
        """It could not be stopped: it serves again, and no other model counts on it."""
        self._leaving = {k: each for k, each in self._leaving.items() if each is not worker}
        self._fleet.stop_draining(worker)
        self._unstoppable.add(worker)

    # One model.

    def _open_holders(self, key: Key) -> list[Worker]:
        """Workers that serve the model and take new requests; any of the binding for ""."""
        binding, model = key
        workers = self._fleet.holders(binding, model) if model else self._fleet.of(binding)
        return [worker for worker in workers if not (worker.draining or worker.retiring)]

    def _next_step(self, key: Key, queue: ModelQueue, now: float) -> tuple[Step, Worker | None]:
        if not key[1]:
            return Step.START if self._startable(key, queue) else Step.WAIT, None
        if self._open_holders(key):
            return self._replica(key, queue, now)
        if key in self._leaving:
            return Step.WAIT, None
        room = Room(
            startable=self._startable(key, queue),
            cramped=self._cramped[key][1] if key in self._cramped else None,
            stoppable=lambda worker: worker not in self._unstoppable,
            may_switch=lambda worker: may_switch(
                worker, self.turns.get(worker, set()), now, self._policy
            ),
            now=now,
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
            worker = self.affinity.choose(waiter, free) if len(holders) > 1 else free[0]
            self._fleet.reserve(worker)
            turn = Turn(waiter, worker, now)
            self.turns.setdefault(worker, set()).add(turn)
            yield Serve(waiter, worker, turn)
        if not queue.generations:
            queue.full_since = None
        elif queue.full_since is None:
            queue.full_since = now

    def _replica(self, key: Key, queue: ModelQueue, now: float) -> tuple[Step, Worker | None]:
        waits = queue.full_since is not None and now - queue.full_since >= REPLICA_AFTER
        if not waits or self.circuits.open(key, now) or key in self._cramped:
            return Step.WAIT, None
        return replica_for(
            self._fleet, key, self._policy, startable=self._startable(key, queue),
            cores=self._cores,
        )  # fmt: skip

    def _startable(self, key: Key, queue: ModelQueue) -> bool:
        workers = [worker for worker in self._fleet.of(key[0]) if not worker.remote]
        return not queue.remote_only and (not workers or key[0] not in self.full)

    def _take(
        self, step: Step, worker: Worker | None, key: Key, queue: ModelQueue, now: float
    ) -> list[Action]:
        if not queue.insists and (error := self._open_circuit(step, key, queue, now)):
            return list(self.reject(error, *key, now=now))
        match step, worker:
            case Step.START, _:
                return [StartWorker(key[0], queue.insists, queue.patient)]
            case Step.LOAD, Worker():
                return [self.load(worker, key[1], now)]
            case Step.STOP, Worker():
                self._fleet.drain(worker, key)
                self._fleet.retire(worker, now)
                self._leaving[key] = worker
                return [StopWorker(worker, key)]
            case Step.DRAIN, Worker():
                self._fleet.drain(worker, key)
            case Step.FAIL, _:
                why, _ = self._cramped.pop(key)
                self.circuits.failed(key, why, now, RETRY, blocks_requests=True)
                return list(self.reject(LoadFailed(why), *key, now=now))
            case Step.GONE, _:
                error = NoWorker(f"no machine that has the model {key[1]} is connected")
                return list(self.reject(error, *key, now=now))
        return []

    def _open_circuit(
        self, step: Step, key: Key, queue: ModelQueue, now: float
    ) -> Exception | None:
        """The error of an open circuit, if the step must not be tried now. Who is patient waits
        for something better than a try that failed a moment ago."""
        why = self.circuits.open if queue.patient else self.circuits.open_for_requests
        if step is Step.START and (error := why((key[0], ""), now)):
            return NoWorker(error)
        if step in (Step.START, Step.LOAD) and (error := why(key, now)):
            return LoadFailed(error)
        return None

    def _reject(self, waiter: Waiter, error: Exception) -> Reject:
        self.leave(waiter)
        return Reject(waiter, error)

    def _turns_in(self, workers: Iterable[Worker]) -> list[Turn]:
        return [turn for worker in workers for turn in self.turns.get(worker, ())]
