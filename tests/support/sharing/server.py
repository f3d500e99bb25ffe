"""The parts of the dispatcher, the loader and the starter, without event loop and sockets.

What they do to the queue and the fleet, and in which order, is as in `gateway.scheduling`.
"""

import itertools
from collections.abc import Callable
from random import Random
from typing import Protocol

from gateway.errors import Busy, LoadFailed
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
from gateway.scheduling.queue import RequestQueue
from gateway.scheduling.turns import Turn, Waiter
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Loaded
from tests.support.sharing.clock import Clock
from tests.support.sharing.machines import Machines
from tests.support.sharing.world import World

TICK, RELOAD, GUEST = 0.05, 2.0, 60.0


class Request(Protocol):
    """What waits, or runs in a worker."""

    waiter: Waiter

    def serve(self, turn: Turn | None, worker: Worker) -> None: ...
    def reject(self, error: Exception) -> None: ...
    def lost(self, worker: Worker) -> None: ...


class Server:
    def __init__(self, world: World, seed: int) -> None:
        self.world, self.random = world, Random(seed)
        self.clock = Clock()
        self.fleet = Fleet()
        self.queue = RequestQueue(self.fleet, world.policy, world.cores)
        self.ready: dict[Waiter, Request] = {}
        self.promised: dict[Waiter, Serve] = {}
        self.runs: dict[Worker, dict[int, Request]] = {}
        self.loads: dict[Worker, int] = {}
        self.disturbances = 0
        """Deaths, failed loads and starts, and stops that were no part of the plan."""
        self.waited: list[tuple[Waiter, float, int]] = []
        """Who was served, after how long, with how many disturbances."""
        self._joined: dict[Waiter, tuple[float, int]] = {}
        self.on_park: Callable[[Turn], None] = lambda turn: None
        self.after_schedule: Callable[[], None] = lambda: None
        self.on_overflow: Callable[[Waiter, Reject], None] = lambda waiter, reject: None
        self.joining = False
        """One has joined the queue that may have to leave it at once."""
        self.calm = False
        """Nothing breaks any more."""
        self.ids = itertools.count(1)
        self._timer = False
        self.machines = Machines(self)

    @property
    def now(self) -> float:
        return self.clock.now

    def soon(self) -> float:
        return self.random.uniform(0, self.world.latency)

    # The dispatcher.

    def wait(self, request: Request) -> None:
        waiter = request.waiter
        expected = self.now - self.fleet.last_guest.get(waiter.binding, -1e9) < GUEST
        if waiter.first and expected:
            waiter.patient_until = self.now + self.world.policy.rejoin_limit
        self.ready[waiter] = request
        self._joined[waiter] = self.now, self.disturbances
        self.queue.join(waiter)
        self.joining = True
        self.schedule()
        self.joining = False
        if overflow := self.queue.overflow(waiter):
            self.on_overflow(waiter, overflow)
            self.execute(overflow)

    def cancel(self, waiter: Waiter) -> None:
        """Its task is cancelled: it leaves in the next turn of the loop."""
        del self.ready[waiter]
        self.clock.after(0, lambda: self._leave(waiter))

    def _leave(self, waiter: Waiter) -> None:
        self.queue.leave(waiter)
        self._joined.pop(waiter, None)
        if promised := self.promised.pop(waiter, None):
            self._free(promised)
            if promised.turn:
                self.queue.end_turn(promised.turn)
        self.clock.after(0, self.schedule)

    def _free(self, promised: Serve) -> None:
        self.fleet.free(promised.worker, slot=promised.turn is not None)

    def schedule(self) -> None:
        for action in self.queue.schedule(self.now):
            self.execute(action)
        if not self._timer and self.ready:
            self._timer = True
            self.clock.after(TICK, self._tick)
        self.after_schedule()

    def _tick(self) -> None:
        self._timer = False
        for action in self.queue.preempt(self.now):
            self.execute(action)
        self.schedule()

    def execute(self, action: Action) -> None:
        match action:
            case Serve(waiter, _, turn):
                since, disturbances = self._joined.pop(waiter)
                self.waited.append((waiter, self.now - since, self.disturbances - disturbances))
                self.promised[waiter] = action
                if waiter in self.ready:
                    self.clock.after(0, lambda: self._deliver(waiter))
                else:  # it was cancelled a moment ago, and leaves in the next
                    del self.promised[waiter]
                    if turn:
                        self.queue.end_turn(turn)
                    self._free(action)
                    self.clock.after(0, self.schedule)
            case Reject(waiter, error):
                assert not (isinstance(error, Busy) and not waiter.limited)
                self._joined.pop(waiter)
                if request := self.ready.pop(waiter, None):
                    self.clock.after(0, lambda: request.reject(error))
            case LoadModel(worker, model):
                self.clock.after(self.soon(), lambda: self._begin_load(worker, model))
            case StartWorker(binding, _, patient):
                self.machines.start(binding, patient=patient)
            case StopWorker(worker):
                self.clock.after(self.soon(), lambda: self.machines.stop(worker))
            case Park(turn):
                self.on_park(turn)
                turn.park()
            case CheckReader(turn):
                turn.check_reader()

    def _deliver(self, waiter: Waiter) -> None:
        if request := self.ready.pop(waiter, None):
            promised = self.promised.pop(waiter)
            self._free(promised)
            request.serve(promised.turn, promised.worker)

    def fail(self, error: Exception, binding: str, model: str | None, *, slots: bool) -> None:
        for rejected in self.queue.reject(error, binding, model, slots=slots, now=self.now):
            self.execute(rejected)
        self.schedule()

    # Requests in workers.

    def send(self, request: Request, worker: Worker, *, slot: bool) -> int:
        id = next(self.ids)
        self.fleet.assign(worker, id, self.now, slot=slot)
        self.runs.setdefault(worker, {})[id] = request
        return id

    def answered(self, worker: Worker, id: int) -> None:
        if self.runs.get(worker, {}).pop(id, None):
            self.fleet.release(worker, id, self.now)
            self.schedule()

    # Models.

    def _begin_load(self, worker: Worker, model: str) -> None:
        id = self.loads[worker] = next(self.ids)
        self.fleet.assign(worker, id, self.now)
        if self.fleet.find(worker.identity) is not worker:
            return self.load_failed(worker, deadly=True)
        need = self.world.models[worker.binding, model]
        others = [w for w in self.fleet.all() if not (w.remote or w is worker)]
        held = 0.0 if worker.remote else sum(self._memory(each) for each in others)
        if need + held > self.world.memory:
            self.clock.after(self.soon(), lambda: self._load_ends(worker, "no_memory"))
        else:
            seconds = self.world.load * self.random.uniform(0.5, 1)
            broken = not self.calm and self.random.random() < self.world.broken_loads
            self.clock.after(seconds, lambda: self._load_ends(worker, "broken" * broken))

    def _memory(self, worker: Worker) -> float:
        held = [worker.loading] if worker in self.loads else [worker.model]
        return max(self.world.models.get((worker.binding, each), 0.0) for each in held)

    def _load_ends(self, worker: Worker, problem: str) -> None:
        if self.fleet.find(worker.identity) is not worker:
            return  # its end was reported already, or will be
        if problem:
            return self.load_failed(worker, deadly=False, no_memory=problem == "no_memory")
        self.fleet.loaded(worker, Loaded(0, worker.loading, 0, slots=self.world.slots), self.now)
        self.fleet.release(worker, self.loads.pop(worker), self.now)
        self.schedule()
        self.queue.circuits.close(worker.key)
        self.queue.changed(worker)
        self.schedule()

    def load_failed(self, worker: Worker, *, deadly: bool, no_memory: bool = False) -> None:
        model, key = worker.loading, (worker.binding, worker.loading)
        self.fleet.release(worker, self.loads.pop(worker), self.now)
        self.schedule()
        self.fleet.load_failed(worker)
        if no_memory:
            self.queue.no_memory(worker, model, "too large")
            return self.schedule()
        self.disturbances += 1
        deadly = deadly and not worker.retiring
        first_death = deadly and not self.queue.circuits.error(key)
        served = bool(self.fleet.holders(*key))
        self.queue.circuits.failed(
            key, "it broke", self.now, 0.0 if first_death else RELOAD,
            blocks_requests=deadly and not served,
        )  # fmt: skip
        if served:
            return self.schedule()
        self.fail(LoadFailed("it broke"), worker.binding, model, slots=not first_death)
