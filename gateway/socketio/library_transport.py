"""Fallback transport: send through `AsyncServer.emit`.

The reference implementation, and the one that is used when `engineio_hooks` does not know the
installed engineio. It learns what was sent in packets only, and later than `direct_transport`.
"""

import asyncio
from collections.abc import Callable, Sequence

import socketio

from gateway.socketio.encoder import PACKETS_A_POLL, Item
from gateway.socketio.engineio_hooks import end_session, unsent

ROOM = 64 * 1024
PAUSE = 0.05
"""Seconds between events to a polling client, which accepts at most 16 in one response."""


class LibraryTransport:
    """A Transport to one client; owns the task that emits."""

    def __init__(self, sio: socketio.AsyncServer, sid: str, done: Callable[[], None]) -> None:
        """`done` is called when `write` may be called again."""
        self._sio = sio
        self._sid = sid
        self._done = done
        self._task: asyncio.Task[None] | None = None

    @property
    def merges(self) -> bool:
        try:
            return bool(self._sio.transport(self._sid) == "polling")
        except KeyError:
            return True  # it is gone

    def room(self) -> int:
        return ROOM if self.settled() else 0

    def settled(self) -> bool:
        return self._task is None and self.backlog() < PACKETS_A_POLL

    def backlog(self) -> int:
        return unsent(self._sio, self._sid)

    def write(self, items: Sequence[Item]) -> None:
        self._task = asyncio.create_task(self._emit(items))

    def ask(self, answered: Callable[[], None]) -> bool:
        return False  # python-socketio has no way

    def drop(self) -> None:
        self.close()
        self._task = asyncio.create_task(end_session(self._sio, self._sid))

    def close(self) -> None:
        if self._task:
            self._task.cancel()

    async def _emit(self, items: Sequence[Item]) -> None:
        try:
            for item in items:
                await self._sio.emit(item.name, item.data, to=self._sid)
                if self.merges:
                    await asyncio.sleep(PAUSE)
        finally:
            self._task = None
        self._done()
