"""Flush all send queues once per event-loop turn; drop clients that stopped reading."""

import asyncio
from typing import Self

from gateway.socketio.send_queue import Counts, SendQueue

POLL_SECONDS = 0.01
"""Between checks of blocked queues; asyncio reports free room in a write buffer to aiohttp
only."""


class Flusher:
    """Shared by all send queues of a server. Use it from the event loop's thread only."""

    def __init__(self, stall_limit: float, counts: Counts) -> None:
        """A client that does not read for `stall_limit` seconds is dropped; 0 means never."""
        self.counts = counts
        self._stall_limit = stall_limit
        self._loop = asyncio.get_running_loop()
        self._marked: list[SendQueue] = []
        self._blocked: dict[SendQueue, tuple[int, int, float]] = {}  # writes, backlog, since when
        self._scheduled = False
        self._eager = False
        self._crowded = False
        self._room_freed = False
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self, queue: SendQueue) -> None:
        if self._eager:
            queue.flush()
        queue.scheduled = True
        self._marked.append(queue)
        self._schedule()

    def await_room(self, queue: SendQueue) -> None:
        if queue not in self._blocked:
            self._blocked[queue] = queue.writes, queue.backlog(), self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(POLL_SECONDS, self._tick)

    def room_freed(self) -> None:
        """Some connection can be written to again."""
        if self._blocked:
            self._room_freed = True
            self._schedule()

    def hold(self) -> None:
        """A call of `flush` will follow. Until then the first item of each queue is written at
        once, before the rest of the batch is read; later items are written together by `flush`.
        After a batch with many items for one queue, the first one waits, too, the next time."""
        self._scheduled = True
        self._eager = not self._crowded

    def flush(self) -> None:
        """Write all that can be written now."""
        self._scheduled = False
        if self._marked:
            alone = 0 if self._eager else 1
            marked, self._marked = self._marked, []
            self._crowded = any(queue.waiting > alone for queue in marked)
            for queue in marked:
                queue.flush()
        self._eager = False
        if self._room_freed:
            self._flush_blocked()

    async def drained(self) -> None:
        """Return when nothing waits."""
        while self._marked or self._blocked:
            await asyncio.sleep(POLL_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget all queues, and stop the timer."""
        self._marked.clear()
        self._blocked.clear()
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def _flush_blocked(self) -> None:
        self._room_freed = False
        for queue in list(self._blocked):
            queue.flush()
            if not queue.unsettled:
                del self._blocked[queue]

    def _tick(self) -> None:
        self._timer = None
        self._flush_blocked()
        now = self._loop.time()
        for queue, (writes, backlog, since) in list(self._blocked.items()):
            left = queue.backlog()
            if queue.writes != writes or left < backlog or not queue.must_be_read:
                since = now
            self._blocked[queue] = queue.writes, left, since
            if self._stall_limit and now - since > self._stall_limit:
                del self._blocked[queue]
                queue.drop(f"has not read for {now - since:.0f} s")
        if self._blocked and self._timer is None:
            self._timer = self._loop.call_later(POLL_SECONDS, self._tick)
