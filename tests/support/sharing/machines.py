"""Processes and machines: what supervisor does, and workers that die and come back."""

from collections import Counter
from typing import TYPE_CHECKING

from gateway.errors import NoWorker
from gateway.workers.worker import Worker
from protocol.messages import Hello

if TYPE_CHECKING:
    from tests.support.sharing.server import Server

RESTART, RETRY = 30.0, 0.5
AUTO_PROCESSES = 16


class Machines:
    def __init__(self, server: "Server") -> None:
        self._server = server
        self._world, self._random, self._clock = server.world, server.random, server.clock
        self._fleet, self._queue = server.fleet, server.queue
        self._alive: Counter[str] = Counter()
        """Local processes that run, start, or are restarted."""
        self._coming: Counter[str] = Counter()
        """Those of them that have not joined."""
        self._starting: set[str] = set()
        self._not_before: dict[str, float] = {}
        for number, binding in enumerate(self._world.guests):
            entry = f"guest{number}"
            self._clock.after(0, lambda b=binding, e=entry: self.join(b, e))  # type: ignore[misc]
        for mean, event in (
            (self._world.deaths, self._some_death),
            (self._world.idle_stops, self._idle_stop),
        ):
            if mean:
                self._clock.after(self._random.expovariate(1 / mean), event)

    def join(self, binding: str, entry: str = "", model: str = "") -> None:
        name = f"{binding}.{next(self._server.ids)}".encode()
        resumable = binding not in self._world.frail
        hello = Hello(0, binding, 7, self._world.slots, resumable=resumable, model=model)
        worker = self._fleet.join(name, hello, self._server.now, entry)
        self._server.runs[worker] = {}
        if not entry:
            self._coming[binding] -= 1
        self._starting.discard(binding)
        self._queue.full.discard(binding)
        self._queue.circuits.close((binding, ""))
        self._server.schedule()
        if worker.model or worker.loading:
            return
        model = self._fleet.take_orphan(binding)
        for action in self._queue.load_unasked(worker, model, self._server.now):
            self._server.execute(action)
        self._server.after_schedule()

    def start(self, binding: str, *, patient: bool) -> None:
        early = patient and self._server.now < self._not_before.get(binding, 0.0)
        if binding in self._starting or early:
            return
        allowed = self._world.policy.processes(binding) or AUTO_PROCESSES
        if self._coming[binding]:
            self._starting.add(binding)  # supervisor is about to start one anyway
        elif self._alive[binding] < allowed:
            self._starting.add(binding)
            self._alive[binding] += 1
            self._coming[binding] += 1
            broken = not self._server.calm and self._random.random() < self._world.broken_starts
            event = self._start_failed if broken else self.join
            self._clock.after(
                self._random.uniform(0.5, 1) * self._world.start, lambda: event(binding)
            )
        else:
            self._clock.after(self._server.soon(), lambda: self._full(binding))

    def _full(self, binding: str) -> None:
        self._queue.full.add(binding)
        self._server.schedule()

    def _start_failed(self, binding: str) -> None:
        self._server.disturbances += 1
        self._alive[binding] -= 1
        self._coming[binding] -= 1
        self._starting.discard(binding)
        if not any(not each.remote for each in self._fleet.of(binding)):
            self._not_before[binding] = self._server.now + RETRY
            key = binding, ""
            self._queue.circuits.failed(
                key, "it died", self._server.now, RESTART, blocks_requests=True
            )
            if not self._fleet.of(binding):
                self._server.fail(NoWorker("it died"), binding, None, slots=True)
        self._full(binding)

    def stop(self, worker: Worker) -> None:
        if not self._server.calm and self._random.random() < self._world.refused_stops:
            self._server.disturbances += 1
            self._queue.not_stopped(worker)
            self._fleet.keep(worker)
            self._server.schedule()
        else:
            seconds = self._random.uniform(0.5, 1) * self._world.stop
            self._clock.after(seconds, lambda: self.lose(worker))

    def lose(self, worker: Worker) -> None:
        """Its process has ended, or the way to it is broken."""
        if self._fleet.lose(worker.identity, self._server.now) is None:
            return
        self._queue.full.discard(worker.binding)
        self._queue.changed(worker)
        model = worker.model if self._random.random() < 0.5 else ""
        if worker.remote:
            self._clock.after(
                self._random.uniform(0.5, 10),
                lambda: self.join(worker.binding, worker.entry, model),
            )
        elif worker.retiring:
            self._alive[worker.binding] -= 1
        else:
            self._coming[worker.binding] += 1
            self._clock.after(self._random.uniform(0.5, 2), lambda: self.join(worker.binding))
        self._clock.after(self._random.uniform(0, 0.3), lambda: self._examined(worker))

    def _examined(self, worker: Worker) -> None:
        for id, request in list(self._server.runs.pop(worker).items()):
            self._fleet.release(worker, id, self._server.now)
            self._server.schedule()
            self._clock.after(0, lambda r=request: r.lost(worker))
        if worker in self._server.loads:
            self._server.load_failed(worker, deadly=True)
        self._server.schedule()

    def _some_death(self) -> None:
        if self._server.calm:
            return
        if workers := [w for w in self._fleet.all() if not w.retiring]:
            self._server.disturbances += 1
            self.lose(self._random.choice(workers))
        self._clock.after(self._random.expovariate(1 / self._world.deaths), self._some_death)

    def _idle_stop(self) -> None:
        """As the health monitor after `keep_alive`."""
        if self._server.calm:
            return
        idle = [w for w in self._fleet.all() if w.idle and not (w.remote or w.retiring)]
        if idle:
            self._server.disturbances += 1
            worker = self._random.choice(idle)
            self._fleet.retire(worker, self._server.now)
            self._clock.after(self._server.soon(), lambda: self.stop(worker))
        self._clock.after(self._random.expovariate(1 / self._world.idle_stops), self._idle_stop)
