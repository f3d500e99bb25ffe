"""Load models in workers: send the request, follow its progress, and judge its end."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from gateway.errors import LoadFailed
from gateway.observability.metrics import Metrics
from gateway.scheduling.queue import RequestQueue
from gateway.scheduling.wait_notices import WaitNotices
from gateway.workers.fleet import Fleet
from gateway.workers.link import Link
from gateway.workers.worker import Worker
from protocol.errors import ErrorCode
from protocol.messages import Failed, Load, LoadProgress, PromptProgress

log = logging.getLogger(__name__)

RELOAD = 2.0
"""Seconds until the next try after the first failed load."""
MISTAKE = "the server made a mistake: see its log"


class LoadBuilder(Protocol):
    async def build(self, worker: Worker, model: str) -> Callable[[int], Load]:
        """From the request's id to its message. Raise LoadFailed for an unknown model."""

    async def is_local(self, binding: str, model: str) -> bool:
        """Whether workers on this machine can load the model."""


class OnFailure(Protocol):
    def __call__(
        self, error: Exception, binding: str, model: str | None = None, *, slots: bool = True
    ) -> None:
        """Reject the requests that wait for it."""


class ModelLoader:
    """Use it from the event loop's thread only."""

    def __init__(
        self,
        fleet: Fleet,
        link: Link,
        loads: LoadBuilder,
        queue: RequestQueue,
        notices: WaitNotices,
        metrics: Metrics,
        *,
        failed: OnFailure,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when the queue should be scheduled."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.progress: dict[Worker, float | None] = {}
        """Of each load, the part that is done; None if the binding does not tell."""
        self._fleet = fleet
        self._link = link
        self._loads = loads
        self._queue = queue
        self._notices = notices
        self._metrics = metrics
        self._failed = failed
        self._changed = changed

    def load(self, worker: Worker, model: str) -> None:
        """Begin; the worker is marked as loading already."""
        task = asyncio.create_task(self._load_now(worker, model))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _load_now(self, worker: Worker, model: str) -> None:
        log.info("worker %s loads %s", worker.name, model)
        key = worker.binding, model
        self._notices.tell_model(key, "loading")
        code = ""
        self.progress[worker] = None
        try:
            load = await self._loads.build(worker, model)
            async with self._link.request(
                worker, load, progress=lambda message: self._progress(worker, model, message)
            ) as call:
                answer = await call.answer
            if isinstance(answer, Failed):
                code = answer.code
                raise LoadFailed(answer.error)
        except LoadFailed as error:
            self._load_failed(worker, model, error, code)
        except Exception:
            log.exception("worker %s could not be asked to load %s", worker.name, model)
            self._load_failed(worker, model, LoadFailed(MISTAKE), code)
        else:
            if worker.previous:
                self._metrics.models_evicted["another model"] += 1
            self._queue.circuits.close(key)
            self._queue.changed(worker)
            log.info("worker %s holds %s after %.1f s", worker.name, model, worker.load_seconds)
            self._notices.tell_model(key, "loaded")
            self._changed()
        finally:
            del self.progress[worker]

    def _progress(self, worker: Worker, model: str, message: LoadProgress | PromptProgress) -> None:
        if isinstance(message, LoadProgress):
            self.progress[worker] = message.fraction
            self._notices.tell_model((worker.binding, model), "loading", message.fraction)

    def _load_failed(self, worker: Worker, model: str, error: LoadFailed, code: str) -> None:
        self._fleet.load_failed(worker)
        key = worker.binding, model
        if code == ErrorCode.NO_MEMORY:
            log.info("%s does not fit beside the loaded models: %s", model, error)
            self._queue.no_memory(worker, model, str(error))
            self._notices.tell_model(key, "waiting")
            return self._changed()
        deadly = code == ErrorCode.WORKER_LOST and not worker.retiring
        first_death = deadly and not self._queue.circuits.error(key)  # the load need not be why
        hold = 0.0 if first_death else RELOAD
        now = asyncio.get_running_loop().time()
        served = bool(self._fleet.holders(*key))  # this would have been one more
        blocks = deadly and not served
        if self._queue.circuits.failed(key, str(error), now, hold, blocks_requests=blocks):
            log.warning("worker %s could not load %s: %s", worker.name, model, error)
        self._notices.tell_model(key, "failed", error=str(error))
        if served:
            return self._changed()
        self._failed(error, worker.binding, model, slots=not first_death)
