"""When is what waits for clients written, and which client has waited for too long?"""

import asyncio

from gateway.socketio.send_queue import Counts, Outlet

AGAIN = 0.01
"""Seconds until blocked outlets look for room; asyncio tells nobody but aiohttp."""


class Desk:
    """Shared by all outlets of a server; `close` forgets them."""

    def __init__(self, stall_limit: float, counts: Counts) -> None:
        """After `stall_limit` seconds without reading a client is dropped; 0 is never."""
        self.counts = counts
        self._stall_limit = stall_limit
        self._loop = asyncio.get_running_loop()
        self._marked: list[Outlet] = []
        self._blocked: dict[Outlet, tuple[int, int, float]] = {}  # writes, backlog, since when
        self._scheduled = False
        self._eager = False
        self._crowded = False
        self._news = False
        self._timer: asyncio.TimerHandle | None = None

    def mark(self, outlet: Outlet) -> None:
        if self._eager:
            outlet.flush()
        outlet.dirty = True
        self._marked.append(outlet)
        self._schedule()

    def block(self, outlet: Outlet) -> None:
        if outlet not in self._blocked:
            self._blocked[outlet] = outlet.writes, outlet.backlog(), self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(AGAIN, self._tick)

    def look_again(self) -> None:
        """Some connection has room now."""
        if self._blocked:
            self._news = True
            self._schedule()

    def hold(self) -> None:
        """A flush is sure to come. Until then an outlet's first item is written at once, which
        spares it the others' reading, and what follows goes together; where much follows, as in
        a flood, the first goes with it the next time."""
        self._scheduled = True
        self._eager = not self._crowded

    def flush(self) -> None:
        """Write all that can be written now."""
        self._scheduled = False
        if self._marked:
            alone = 0 if self._eager else 1
            marked, self._marked = self._marked, []
            self._crowded = any(outlet.waiting > alone for outlet in marked)
            for outlet in marked:
                outlet.flush()
        self._eager = False
        if self._news:
            self._flush_blocked()

    async def drained(self) -> None:
        """Return when nothing waits."""
        while self._marked or self._blocked:
            await asyncio.sleep(AGAIN)

    def close(self) -> None:
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
        self._news = False
        for outlet in list(self._blocked):
            outlet.flush()
            if not outlet.waits:
                del self._blocked[outlet]

    def _tick(self) -> None:
        self._timer = None
        self._flush_blocked()
        now = self._loop.time()
        for outlet, (writes, backlog, since) in list(self._blocked.items()):
            left = outlet.backlog()
            if outlet.writes != writes or left < backlog:
                since = now
            self._blocked[outlet] = outlet.writes, left, since
            if self._stall_limit and now - since > self._stall_limit:
                del self._blocked[outlet]
                outlet.drop(f"has not read for {now - since:.0f} s")
        if self._blocked and self._timer is None:
            self._timer = self._loop.call_later(AGAIN, self._tick)
