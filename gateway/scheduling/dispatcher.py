"""Where does a request run, and what must be started or loaded before it can?

Requests that cannot run yet wait here, in the order they came. Whenever
something changes (a worker joined, a slot was freed, a model was loaded) the
line is walked once, and what `gateway.scheduling.queue` says is done.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from gateway.errors import Busy, LoadFailed, NoWorker, StartFailed
from gateway.scheduling.queue import Action, Denied, Given, Line, ToLoad, ToStart, Waiter
from gateway.workers.fleet import Fleet, Worker
from gateway.workers.link import DIED, Link
from protocol.errors import ErrorCode
from protocol.messages import Failed, Load

log = logging.getLogger(__name__)

RELOAD, RESTART = 2.0, 30.0
"""Seconds for which a failed load, or start, is left alone the first time."""


Recipe = Callable[[str, str], Awaitable[Callable[[int], Load]]]
"""(binding, model) to what makes the message; raises LoadFailed when there is no such model."""


class Dispatch:
    """Owns the tasks that load models and start workers; `close` ends them."""

    def __init__(
        self, fleet: Fleet, *,
        start: Callable[[str, asyncio.Event, Collection[int], bool], Awaitable[bool]],
        post_mortem: Callable[[Worker, str], Awaitable[str]],
        max_queue: int, patience: float = 20.0,
    ) -> None:  # fmt: skip
        """`start` starts one more process of a binding, besides those with the given pids, and
        says whether one is on its way; it may wait until the event says that it arrived. It
        raises NoWorker when there can be none; with True as its last argument it tries though
        the last try was a moment ago. `post_mortem` turns "died" into a sentence.
        """
        self.fleet = fleet
        self.link: Link
        """Set before anything is asked: the two know each other."""
        self.recipe: Recipe
        self.wanted: Callable[[str], str] = lambda binding: ""
        """The model that a worker of the binding should hold before anybody asks."""
        self._start = start
        self._post_mortem = post_mortem
        self._patience = patience
        self._line = Line(fleet, max_queue)
        self.circuits = self._line.circuits
        self._ready: dict[Waiter, asyncio.Future[Worker]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self.asleep: set[str] = set()
        """Bindings whose workers were stopped because nobody needed them."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrivals: dict[str, asyncio.Event] = {}

    @property
    def waiting(self) -> int:
        return self._line.waiting

    @asynccontextmanager
    async def slot(self, binding: str, model: str, *, first: bool = False) -> AsyncIterator[Worker]:
        """A worker that holds the model and has room for one request more.

        Who comes `first` waits before those who never ran, and is not too many.
        Raise Busy at once when too many wait already, LoadFailed and NoWorker when there
        is no hope. The request must be sent without waiting for anything else.
        """
        yield await self._wait(Waiter(binding, model, slot=True, first=first))

    async def ensure(self, binding: str, model: str, *, insist: bool = False) -> Worker:
        """Return when some worker holds the model; nothing that runs is disturbed."""
        return await self._wait(Waiter(binding, model, slot=False, insists=insist))

    async def ensure_worker(self, binding: str) -> None:
        """Return when a worker of the binding answers; whatever failed lately is tried again."""
        if not self.fleet.of(binding):
            await self._wait(Waiter(binding, "", slot=False, insists=True))

    async def close(self) -> None:
        tasks = [*self._tasks, *self._starting.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the link tells.

    def joined(self, worker: Worker) -> None:
        self._line.full.discard(worker.binding)
        self.asleep.discard(worker.binding)
        self.circuits.close((worker.binding, ""))
        if arrival := self._arrivals.get(worker.binding):
            arrival.set()
        model = self.fleet.orphan(worker.binding) or self.wanted(worker.binding)
        if (
            model
            and not worker.model
            and not self.fleet.expected(worker.binding, model)
            and not self.circuits.open((worker.binding, model), self._now())
        ):
            self._do(self._line.load(worker, model))
        self._walk()

    def released(self, worker: Worker) -> None:
        self._walk()

    def lost(self, worker: Worker, how: str) -> None:
        self._line.full.discard(worker.binding)
        if worker.retiring:
            self.asleep.add(worker.binding)
        self._spawn(self._bury(worker, how))

    async def _bury(self, worker: Worker, how: str) -> None:
        try:
            seen = await self._post_mortem(worker, how)
            how = seen if how == DIED else how
        finally:
            self.link.fail(worker, how)
            self._walk()

    # The line.

    async def _wait(self, waiter: Waiter) -> Worker:
        ready: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._ready[waiter] = ready
        self._line.join(waiter)
        self._walk()
        try:
            if self._line.too_many(waiter):
                raise Busy
            return await ready
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_soon(self._walk)  # what was promised is free again
            raise
        finally:
            # From here to the request's first frame nothing waits: see `slot`.
            del self._ready[waiter]
            self._line.leave(waiter)
            if ready.done() and not ready.cancelled() and not ready.exception():
                ready.result().reserved -= waiter.slot

    def _walk(self) -> None:
        for waiter, ready in self._ready.items():
            if ready.cancelled():  # its task is about to take it out
                self._line.leave(waiter)
        for action in self._line.walk(self._now()):
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Given(waiter, worker):
                self._ready[waiter].set_result(worker)
            case Denied(waiter, error):
                self._ready[waiter].set_exception(error)
            case ToLoad(worker, model):
                self._spawn(self._load_now(worker, model))
            case ToStart(binding, insist):
                self._start_one(binding, insist=insist)

    def _fail(
        self, error: Exception, binding: str, model: str | None = None, *, runners: bool = True
    ) -> None:
        for denied in self._line.deny(error, binding, model, runners=runners):
            if not self._ready[denied.waiter].done():
                self._do(denied)
        self._walk()

    # What the line sets going.

    async def _load_now(self, worker: Worker, model: str) -> None:
        log.info("worker %s loads %s", worker.name, model)
        started = self._now()
        deadly = False
        try:
            load = await self.recipe(worker.binding, model)
            async with self.link.request(worker, load) as call:
                answer = await call.answer
            if isinstance(answer, Failed):
                deadly = answer.code == ErrorCode.WORKER_LOST and not worker.retiring
                raise LoadFailed(answer.error)
        except LoadFailed as error:
            worker.loading = ""
            self._load_failed(worker, model, error, deadly)
        else:
            self.circuits.close((worker.binding, model))
            took = self._now() - started
            log.info("worker %s holds %s after %.1f s", worker.name, model, took)
            self._walk()

    def _load_failed(self, worker: Worker, model: str, error: LoadFailed, deadly: bool) -> None:
        key = worker.binding, model
        first_death = deadly and not self.circuits.error(key)  # it may have died of something else
        hold = 0.0 if first_death else RELOAD
        if self.circuits.failed(key, str(error), self._now(), hold, barred=deadly):
            log.warning("worker %s could not load %s: %s", worker.name, model, error)
        self._fail(error, worker.binding, model, runners=not first_death)

    def _start_one(self, binding: str, *, insist: bool) -> None:
        if binding not in self._starting:
            self._arrivals[binding] = asyncio.Event()
            self._starting[binding] = asyncio.create_task(self._start_now(binding, insist))

    async def _start_now(self, binding: str, insist: bool) -> None:
        try:
            present = {worker.pid for worker in self.fleet.of(binding)}
            async with asyncio.timeout(self._patience):
                started = await self._start(binding, self._arrivals[binding], present, insist)
                if started or not self.fleet.of(binding):
                    await self._arrivals[binding].wait()
        except (NoWorker, TimeoutError) as error:
            started = False
            late = f"no worker of the binding {binding} answered within {self._patience:g} s"
            why = str(error) or late
            if not self.fleet.of(binding):
                if not isinstance(error, NoWorker) or isinstance(error, StartFailed):
                    self.circuits.failed((binding, ""), why, self._now(), RESTART, barred=True)
                self._fail(NoWorker(why), binding)
        finally:
            del self._starting[binding]
        if not started:
            self._line.full.add(binding)
        self._walk()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
