"""The provider of worker processes: the interface for the dispatcher and /status."""

import asyncio
from collections.abc import Collection
from typing import Any, Protocol

from gateway.workers.worker import Worker


class WorkerProvider(Protocol):
    async def start_worker(
        self,
        binding: str,
        arrived: asyncio.Event | None = None,
        present: Collection[int] = (),
        insist: bool = False,
    ) -> bool:
        """Start one more process. Return False when all allowed ones are running.

        With `arrived`, return only when that is set; `present` are the pids of workers that
        have joined. Raise NoWorker when none can be started; StartFailed when the process dies
        before it joins, or, unless you `insist`, when it failed a moment ago.
        """

    async def stop_worker(self, worker: Worker) -> bool:
        """Ask the worker to stop, which frees its memory. Return whether it will; a remote worker
        will not."""

    async def post_mortem(self, worker: Worker, how: str) -> str:
        """How it ended, as the end of a sentence; `how` if that is not known in time."""

    async def programs(self) -> list[dict[str, Any]] | None:
        """The worker processes that were ever started, and their states, for /status; None if
        unknown."""
