"""Start worker processes, one at a time for each binding."""

import asyncio
import logging
from collections.abc import Callable

from gateway.errors import NoWorker, StartFailed
from gateway.provisioning.provider import WorkerProvider
from gateway.scheduling.model_loader import MISTAKE, OnFailure
from gateway.scheduling.queue import RequestQueue
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker

log = logging.getLogger(__name__)

RESTART = 30.0
"""Seconds until the next try after the first failed start."""
PATIENT_RETRY = 0.5
"""The same while a request waits for a worker that may come by itself."""


class WorkerStarter:
    """Use it from the event loop's thread only."""

    def __init__(
        self,
        fleet: Fleet,
        provider: WorkerProvider,
        queue: RequestQueue,
        timeout: float,
        *,
        failed: OnFailure,
        changed: Callable[[], None],
    ) -> None:
        """`timeout`: seconds from the start of a process to its Hello. `changed` is called when
        the queue should be scheduled."""
        self._fleet = fleet
        self._provider = provider
        self._queue = queue
        self._timeout = timeout
        self._failed = failed
        self._changed = changed
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._arrivals: dict[str, asyncio.Event] = {}
        self._not_before: dict[str, float] = {}

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return list(self._starting.values())

    def arrived(self, binding: str) -> None:
        """A worker has said Hello."""
        if arrival := self._arrivals.get(binding):
            arrival.set()

    def start(self, binding: str, *, insist: bool, patient: bool = False) -> bool:
        """Start one, unless that is under way. With `insist`, also if the last ones died. Return
        whether this is a new start."""
        now = asyncio.get_running_loop().time()
        early = patient and now < self._not_before.get(binding, 0.0)
        if binding in self._starting or early:
            return False
        self._arrivals[binding] = asyncio.Event()
        self._starting[binding] = asyncio.create_task(self._start_now(binding, insist))
        return True

    async def _start_now(self, binding: str, insist: bool) -> None:
        try:
            present = {each.pid for each in self._here(binding)}
            async with asyncio.timeout(self._timeout):
                started = await self._provider.start_worker(
                    binding, self._arrivals[binding], present, insist
                )
                if started or not self._here(binding):
                    await self._arrivals[binding].wait()
        except (NoWorker, TimeoutError) as error:
            started = False
            late = f"no worker of the binding {binding} answered within {self._timeout:g} s"
            self._start_failed(binding, error, str(error) or late)
        except Exception:
            started = False
            log.exception("a worker of the binding %s could not be started", binding)
            if not self._here(binding):
                self._failed(NoWorker(MISTAKE), binding)
        finally:
            del self._starting[binding]
        if not started:
            self._queue.full.add(binding)
        self._changed()

    def _start_failed(self, binding: str, error: Exception, why: str) -> None:
        if self._here(binding):
            return
        now = asyncio.get_running_loop().time()
        self._not_before[binding] = now + PATIENT_RETRY
        if not isinstance(error, NoWorker) or isinstance(error, StartFailed):
            key = binding, ""
            self._queue.circuits.failed(key, why, now, RESTART, blocks_requests=True)
        if not self._fleet.of(binding):
            self._failed(NoWorker(why), binding)

    def _here(self, binding: str) -> list[Worker]:
        """Workers on this machine."""
        return [worker for worker in self._fleet.of(binding) if not worker.remote]
