"""Health checks: end silent, hung and frozen workers; stop idle ones.

A pidfd reports deaths; this finds workers that are alive but do not work. A heartbeat says
how many steps a worker's model thread has made: a busy worker whose steps stand
still is hung, even when heartbeats come, because native code that released the
interpreter's lock hangs behind a healthy thread. Loading has a limit of its own,
because a binding need not report its progress.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.workers.link import Link
from gateway.workers.worker import Worker

MISSED_HEARTBEATS = 3
"""After so many a worker is ended."""
CHECKS_PER_HEARTBEAT = 4
"""A stopped process (SIGSTOP) is ended at the second check that finds it stopped."""


class HealthMonitor:
    def __init__(
        self,
        link: Link,
        stop_worker: Callable[[Worker], Awaitable[bool]],
        *,
        stall_limit: float,
        load_limit: float,
        keep_alive: Callable[[Worker], float],
    ) -> None:
        """`stop_worker` says whether the worker will stop. `keep_alive` returns after how long idle
        a worker is stopped. Limits in seconds, 0 is none."""
        self._link = link
        self._stop_worker = stop_worker
        self._stall_limit = stall_limit
        self._load_limit = load_limit
        self._keep_alive = keep_alive
        self._frozen: set[Worker] = set()  # at the last check

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._link.heartbeat / CHECKS_PER_HEARTBEAT)
            now = asyncio.get_running_loop().time()
            frozen = {worker for worker in self._link.fleet.all() if self._link.stopped(worker)}
            for worker in frozen & self._frozen:
                self._link.kill(worker, "was frozen and was ended")
            self._frozen = frozen
            for worker in self._link.fleet.all():
                await self._check(worker, now)

    async def _check(self, worker: Worker, now: float) -> None:
        stalled = now - worker.progress_at
        limit = self._load_limit if worker.loading else self._stall_limit
        if now - worker.last_heard > MISSED_HEARTBEATS * self._link.heartbeat:
            self._end_silent(worker)
        elif limit and worker.requests and stalled > limit:
            self._link.kill(worker, f"made no progress for {stalled:.0f} s and was ended")
        elif worker.idle and 0 < self._keep_alive(worker) < now - worker.used_at:
            # No new requests while supervisor is asked. If it refuses, the next try is
            # `keep_alive` later.
            self._link.fleet.retire(worker, now)
            if not await self._stop_worker(worker):
                self._link.keep(worker)

    def _end_silent(self, worker: Worker) -> None:
        """A remote worker may be alive behind a broken line, and join again later."""
        how = f"was silent for {MISSED_HEARTBEATS} heartbeats"
        if worker.remote:
            self._link.lose(worker.identity, how)
        else:
            self._link.kill(worker, f"{how} and was ended")
