"""Dispatch requests to workers, and start or load what they need before they can run.

Requests that cannot run yet wait here, in the order in which they came. Whenever
something changes (a worker joined, a slot was freed, a model was loaded) the queue is
scheduled once, and its actions are executed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol

from gateway.errors import Busy, LoadFailed, NoWorker, StartFailed
from gateway.provisioning.provider import WorkerProvider
from gateway.scheduling.quarantine import Fingerprint, Quarantine
from gateway.scheduling.queue import (
    Action,
    LoadModel,
    Reject,
    RequestQueue,
    Serve,
    StartWorker,
    Waiter,
)
from gateway.workers.fleet import Fleet, Worker
from gateway.workers.link import DIED, WITHDRAWN, Link
from protocol.errors import ErrorCode
from protocol.messages import Failed, Load

log = logging.getLogger(__name__)

RELOAD, RESTART = 2.0, 30.0
"""Seconds until the next try after the first failed load, or start."""
MISTAKE = "the server made a mistake: see its log"


class LoadBuilder(Protocol):
    async def build(self, worker: Worker, model: str) -> Callable[[int], Load]:
        """From the request's id to its message. Raise LoadFailed for an unknown model."""

    async def is_local(self, binding: str, model: str) -> bool:
        """Whether workers of this machine can load it."""


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
        *,
        preload: Callable[[str], str],
        max_queue: int,
        start_timeout: float = 20.0,
    ) -> None:
        """`preload` returns the model that a new worker of a binding loads without a request; "" is
        none. `start_timeout`: seconds from the start of a process to its Hello."""
        self._fleet = fleet
        self._link = link
        self._provider = provider
        self._loads = loads
        self._quarantine = quarantine
        self._preload = preload
        self._start_timeout = start_timeout
        self._queue = RequestQueue(fleet, max_queue)
        self.circuits = self._queue.circuits
        self._ready: dict[Waiter, asyncio.Future[Worker]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self.asleep: set[str] = set()
        """Bindings whose workers were stopped because they were idle."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals: dict[str, asyncio.Event] = {}

    @property
    def waiting(self) -> int:
        return self._queue.waiting

    @asynccontextmanager
    async def slot(self, binding: str, model: str, *, first: bool = False) -> AsyncIterator[Worker]:
        """A worker that holds the model and has room for one request more.

        A request that comes `first` waits before those that never ran, however many wait.
        Raise Busy at once when too many wait already, LoadFailed or NoWorker when it
        cannot be had. The request must be sent without waiting for anything else.
        """
        yield await self._wait(Waiter(binding, model, slot=True, first=first))

    async def ensure(self, binding: str, model: str, *, insist: bool = False) -> Worker:
        """Return a worker that holds the model. Running requests are not disturbed. With `insist`
        open circuits are ignored."""
        return await self._wait(Waiter(binding, model, slot=False, insist=insist))

    async def ensure_worker(self, binding: str) -> None:
        """Return when a worker of the binding has joined. Open circuits are ignored."""
        if not self._fleet.of(binding):
            await self._wait(Waiter(binding, "", slot=False, insist=True))

    async def close(self) -> None:
        tasks = [*self._tasks, *self._starting.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the link reports.

    def joined(self, worker: Worker) -> None:
        self._queue.full.discard(worker.binding)
        self.asleep.discard(worker.binding)
        self.circuits.close((worker.binding, ""))
        if arrival := self._arrivals.get(worker.binding):
            arrival.set()
        model = self._fleet.take_orphan(worker.binding) or self._preload(worker.binding)
        if (
            model
            and not worker.model
            and not self._fleet.expected(worker.binding, model)
            and not self.circuits.open((worker.binding, model), self._now())
        ):
            self._execute(self._queue.load(worker, model))
        self._schedule()

    def released(self, worker: Worker) -> None:
        self._schedule()

    def lost(self, worker: Worker, how: str) -> None:
        self._queue.full.discard(worker.binding)
        if worker.retiring:
            self.asleep.add(worker.binding)
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

    async def _wait(self, waiter: Waiter) -> Worker:
        ready: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._ready[waiter] = ready
        self._queue.join(waiter)
        self._schedule()
        try:
            if self._queue.too_many(waiter):
                raise Busy
            return await ready
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_soon(self._schedule)  # its reserved slot is free again
            raise
        finally:
            # From here to the request's first frame nothing waits: see `slot`.
            del self._ready[waiter]
            self._queue.leave(waiter)
            served = ready.done() and not ready.cancelled() and not ready.exception()
            if waiter.slot and served:
                self._fleet.free(ready.result())

    def _schedule(self) -> None:
        for waiter, ready in self._ready.items():
            if ready.cancelled():  # its task will remove it in a moment
                self._queue.leave(waiter)
        for action in self._queue.schedule(self._now()):
            self._execute(action)

    def _execute(self, action: Action) -> None:
        match action:
            case Serve(waiter, worker):
                self._ready[waiter].set_result(worker)
            case Reject(waiter, error):
                self._ready[waiter].set_exception(error)
            case LoadModel(worker, model):
                self._spawn(self._load_now(worker, model))
            case StartWorker(binding, insist):
                self._start_one(binding, insist=insist)

    def _fail(
        self, error: Exception, binding: str, model: str | None = None, *, slots: bool = True
    ) -> None:
        for rejected in self._queue.reject(error, binding, model, slots=slots):
            if not self._ready[rejected.waiter].done():
                self._execute(rejected)
        self._schedule()

    # Loading models and starting workers.

    async def _load_now(self, worker: Worker, model: str) -> None:
        log.info("worker %s loads %s", worker.name, model)
        started = self._now()
        deadly = False
        try:
            load = await self._loads.build(worker, model)
            async with self._link.request(worker, load) as call:
                answer = await call.answer
            if isinstance(answer, Failed):
                deadly = answer.code == ErrorCode.WORKER_LOST and not worker.retiring
                raise LoadFailed(answer.error)
        except LoadFailed as error:
            self._load_failed(worker, model, error, deadly)
        except Exception:
            log.exception("worker %s could not be asked to load %s", worker.name, model)
            self._load_failed(worker, model, LoadFailed(MISTAKE), deadly)
        else:
            self.circuits.close((worker.binding, model))
            took = self._now() - started
            log.info("worker %s holds %s after %.1f s", worker.name, model, took)
            self._schedule()

    def _load_failed(self, worker: Worker, model: str, error: LoadFailed, deadly: bool) -> None:
        self._fleet.load_failed(worker)
        key = worker.binding, model
        first_death = deadly and not self.circuits.error(key)  # the load need not be the cause
        hold = 0.0 if first_death else RELOAD
        if self.circuits.failed(key, str(error), self._now(), hold, blocks_requests=deadly):
            log.warning("worker %s could not load %s: %s", worker.name, model, error)
        self._fail(error, worker.binding, model, slots=not first_death)

    def _start_one(self, binding: str, *, insist: bool) -> None:
        if binding not in self._starting:
            self._arrivals[binding] = asyncio.Event()
            self._starting[binding] = asyncio.create_task(self._start_now(binding, insist))

    async def _start_now(self, binding: str, insist: bool) -> None:
        try:
            present = {each.pid for each in self._fleet.of(binding) if not each.remote}
            async with asyncio.timeout(self._start_timeout):
                started = await self._provider.start_worker(
                    binding, self._arrivals[binding], present, insist
                )
                if started or not self._fleet.of(binding):
                    await self._arrivals[binding].wait()
        except (NoWorker, TimeoutError) as error:
            started = False
            late = f"no worker of the binding {binding} answered within {self._start_timeout:g} s"
            why = str(error) or late
            if not self._fleet.of(binding):
                if not isinstance(error, NoWorker) or isinstance(error, StartFailed):
                    self.circuits.failed(
                        (binding, ""), why, self._now(), RESTART, blocks_requests=True
                    )
                self._fail(NoWorker(why), binding)
        except Exception:
            started = False
            log.exception("a worker of the binding %s could not be started", binding)
            if not self._fleet.of(binding):
                self._fail(NoWorker(MISTAKE), binding)
        finally:
            del self._starting[binding]
        if not started:
            self._queue.full.add(binding)
        self._schedule()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
