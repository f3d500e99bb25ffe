"""The provider of worker processes, as the dispatcher and the operators' pages see it."""

import asyncio
from collections.abc import Collection
from typing import Any, Protocol

from gateway.workers.fleet import Worker


class WorkerProvider(Protocol):
    async def start_worker(
        self,
        binding: str,
        arrived: asyncio.Event | None = None,
        present: Collection[int] = (),
        insist: bool = False,
    ) -> bool:
        """Start one process more; False when all there may be are running.

        With `arrived`, return only when that is set; `present` are the pids of those that
        arrived before. Raise NoWorker when there is no way to start one, StartFailed when the
        provider is backing off from it, unless you `insist`, or when it dies before it arrives.
        """

    async def stop_worker(self, worker: Worker) -> bool:
        """Ask the worker to stop, which frees its memory; whether it will."""

    async def post_mortem(self, worker: Worker, how: str) -> str:
        """How it ended, as a sentence's end; `how` where that cannot be known in time."""

    async def programs(self) -> list[dict[str, Any]] | None:
        """The worker processes and their states, for an operator; None if nobody knows."""
