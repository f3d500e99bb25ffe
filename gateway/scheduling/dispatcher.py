"""Dispatch requests to workers, and start or load what they need before they can run.

Requests that cannot run yet wait in the queue. Whenever something changes (a worker joined,
a slot was freed, a model was loaded) the queue is scheduled once, and its actions are
executed. While requests wait, it also asks several times a second which turns end for them.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from gateway.observability.metrics import Metrics
from gateway.provisioning.provider import WorkerProvider
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
from gateway.scheduling.asleep import Asleep
from gateway.scheduling.model_loader import LoadBuilder, ModelLoader
from gateway.scheduling.notices import Notify
from gateway.scheduling.policy import Policy
from gateway.scheduling.quarantine import Fingerprint, Quarantine
from gateway.scheduling.queue import RequestQueue
from gateway.scheduling.turns import Turn, Waiter
from gateway.scheduling.wait_notices import WaitNotices
from gateway.scheduling.worker_starter import WorkerStarter
from gateway.workers.fleet import Fleet
from gateway.workers.link import DIED, WITHDRAWN, Link
from gateway.workers.worker import Key, Worker

GUEST_SECONDS = 60.0
"""A worker on another machine that was there less long ago may come back."""
TICK = 0.05
"""Seconds between checks which turns end for others, while requests wait."""


class Dispatcher:
    """Owns the tasks that load models and start workers; `close` ends them. It observes the
    link: see `Link.serving`."""

    def __init__(
        self,
        fleet: Fleet,
        link: Link,
        provider: WorkerProvider,
        loads: LoadBuilder,
        quarantine: Quarantine,
        policy: Policy,
        metrics: Metrics,
        *,
        preload: Callable[[str], str],
        start_timeout: float = 20.0,
    ) -> None:
        """`preload` returns the model that a new worker of a binding loads without a request; "" is
        none. `start_timeout`: seconds from the start of a process to its Hello."""
        self._fleet = fleet
        self._link = link
        self._provider = provider
        self._loads = loads
        self._quarantine = quarantine
        self._policy = policy
        self._metrics = metrics
        self._preload = preload
        self.queue = RequestQueue(fleet, policy, os.cpu_count() or 1)
        self.circuits = self.queue.circuits
        self._notices = WaitNotices(fleet, self.queue)
        self._starter = WorkerStarter(
            fleet, provider, self.queue, start_timeout, failed=self._fail, changed=self._schedule
        )
        self.loader = ModelLoader(
            fleet, link, loads, self.queue, self._notices, metrics,
            failed=self._fail, changed=self._schedule,
        )  # fmt: skip
        self._ready: dict[Waiter, asyncio.Future[Turn | Worker]] = {}
        self.asleep = Asleep(fleet)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return self.queue.waiting

    @asynccontextmanager
    async def slot(self, waiter: Waiter) -> AsyncIterator[Turn]:
        """A turn in a worker that holds the model, until the block ends.

        Raise Busy when too many wait, LoadFailed or NoWorker when a worker cannot be had. The
        request must be sent without waiting for anything else.
        """
        patient = waiter.first and self._expected(waiter.binding)
        waiter.patient_until = self._now() + self._policy.rejoin_limit if patient else 0.0
        turn = await self._wait(waiter)
        assert isinstance(turn, Turn)
        try:
            yield turn
        finally:
            self.queue.end_turn(turn)
            self._notices.turn_ended(turn, self._now())

    async def ensure(
        self, binding: str, model: str, *, insist: bool = False, notify: Notify | None = None
    ) -> Worker:
        """Return a worker that holds the model. Running requests are not disturbed. With `insist`
        open circuits are ignored."""
        waiter = Waiter(binding=binding, model=model, insist=insist, notify=notify)
        worker = await self._wait(waiter)
        assert isinstance(worker, Worker)
        return worker

    async def ensure_worker(self, binding: str, notify: Notify | None = None) -> None:
        """Return when a worker of the binding has joined. Open circuits are ignored."""
        if not self._fleet.of(binding):
            await self._wait(Waiter(binding=binding, model="", insist=True, notify=notify))

    @contextmanager
    def unary(self, owner: str, key: Key) -> Iterator[None]:
        """While a tokenize, detokenize or embed waits or runs. Raise Busy when its owner has too
        much waiting already."""
        self.queue.limits.add_unary(owner, key)
        try:
            yield
        finally:
            self.queue.limits.remove_unary(owner)

    async def stop_idle(self, worker: Worker) -> bool:
        """Whether the worker, which was idle for long and is marked as retiring, will stop."""
        return await self._stopped(worker, "idle")

    async def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        tasks = [*self._tasks, *self._starter.tasks, *self.loader.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the link reports.

    def joined(self, worker: Worker) -> None:
        self.queue.full.discard(worker.binding)
        self.asleep.joined(worker)
        self.circuits.close((worker.binding, ""))
        self._starter.arrived(worker.binding)
        self._schedule()
        if worker.model or worker.loading:
            return
        model = self._fleet.take_orphan(worker.binding)
        if not model and not self.queue.wants(worker.binding):
            model = self._preload(worker.binding)
        for action in self.queue.load_unasked(worker, model, self._now()):
            self._execute(action)

    def released(self, worker: Worker) -> None:
        self._schedule()

    def lost(self, worker: Worker, how: str) -> None:
        self.queue.full.discard(worker.binding)
        self.queue.changed(worker)
        self.asleep.lost(worker)
        self._spawn(self._examine(worker, how))

    async def _examine(self, worker: Worker, how: str) -> None:
        try:
            found = await self._provider.post_mortem(worker, how)
            how = found if how == DIED else how
        finally:
            self._record_crash(worker, how)  # first: its client may repeat the request at once
            self._link.fail(worker, how)
            self._schedule()

    def _record_crash(self, worker: Worker, how: str) -> None:
        if not worker.retiring and how != WITHDRAWN:
            fingerprints = [tag for tag in self._link.tags(worker) if isinstance(tag, Fingerprint)]
            self._quarantine.record_crash(fingerprints, worker.name, how, self._now())

    # The queue.

    async def _wait(self, waiter: Waiter) -> Turn | Worker:
        if waiter.model and self._fleet.remote_models(waiter.binding):
            waiter.remote_only = not await self._loads.is_local(*waiter.key)
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Turn | Worker] = loop.create_future()
        self._ready[waiter] = ready
        try:
            self.queue.join(waiter)
            self._notices.waits(waiter)
            self._schedule()
            if overflow := self.queue.overflow(waiter):
                self._execute(overflow)
            return await ready
        except BaseException:
            if isinstance(promised := _promised(ready), Turn):
                self.queue.end_turn(promised)
            loop.call_soon(self._schedule)  # its reserved slot is free again
            raise
        finally:
            # From here to the request's first frame nothing waits: see `slot`.
            del self._ready[waiter]
            self.queue.leave(waiter)
            if promised := _promised(ready):
                self._free(promised)

    def _schedule(self) -> None:
        for action in self.queue.schedule(self._now()):
            self._execute(action)
        if self._timer is None and not self.queue.empty:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for action in self.queue.preempt(self._now()):
            self._execute(action)
        self._schedule()
        self._notices.tell_positions(self._now())

    def _execute(self, action: Action) -> None:
        match action:
            case Serve(waiter, worker, turn):
                ready = self._ready[waiter]
                if not ready.done():
                    ready.set_result(turn or worker)
                else:  # cancelled: its task will remove it in a moment
                    if turn:
                        self.queue.end_turn(turn)
                    self._free(turn or worker)
                    asyncio.get_running_loop().call_soon(self._schedule)
            case Reject(waiter, error):
                if not self._ready[waiter].done():
                    self._ready[waiter].set_exception(error)
            case LoadModel(worker, model):
                self.asleep.unloaded(worker)
                self.loader.load(worker, model)
            case StartWorker(binding, insist, patient):
                if self._starter.start(binding, insist=insist, patient=patient):
                    self._notices.tell_model((binding, ""), "starting")
            case StopWorker(worker):
                self._spawn(self._stop(worker))
            case Park(turn):
                turn.park()
            case CheckReader(turn):
                turn.check_reader()

    async def _stop(self, worker: Worker) -> None:
        if not await self._stopped(worker, "memory"):
            self.queue.not_stopped(worker)
            self._link.keep(worker)

    def _fail(
        self, error: Exception, binding: str, model: str | None = None, *, slots: bool = True
    ) -> None:
        self.asleep.failed(binding, model)
        for rejected in self.queue.reject(error, binding, model, slots=slots, now=self._now()):
            self._execute(rejected)
        self._schedule()

    def _expected(self, binding: str) -> bool:
        """Whether a worker on another machine was there a moment ago and may come back."""
        return self._now() - self._fleet.last_guest.get(binding, float("-inf")) < GUEST_SECONDS

    def _free(self, promised: Turn | Worker) -> None:
        if isinstance(promised, Turn):
            self._fleet.free(promised.worker)
        else:
            self._fleet.free(promised, slot=False)

    async def _stopped(self, worker: Worker, why: str) -> bool:
        stopped = await self._provider.stop_worker(worker)
        self._metrics.models_evicted[why] += bool(stopped and worker.model)
        return stopped

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _promised(ready: asyncio.Future[Turn | Worker]) -> Turn | Worker | None:
    """The turn, or the worker, that a request was promised."""
    served = ready.done() and not ready.cancelled() and not ready.exception()
    return ready.result() if served else None
