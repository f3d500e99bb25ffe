"""What goes out to one client, in which order, and how much of it may wait?

Everything that is sent to a client passes through its outlet, so that chunks,
ends and replies keep their order. Chunks that wait behind a slow client are
merged; the worker is given credit for what has left.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

CHUNK = 0
"""MSG_TYPE_CHUNK of the 2023 clients, who look it up by number."""

Emit = Callable[[str, dict[str, Any]], Awaitable[None]]
Taken = Callable[[int], None]
"""Told how many tokens have left for the client."""


@dataclass(slots=True)
class Waiting:
    """Text of one generation that has not left yet."""

    stream: str
    text: str
    tokens: int
    taken: Taken


class Outlet:
    """Owned by a session; `close` drops what waits. Only for the event loop's thread."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._queue: deque[Waiting | tuple[str, dict[str, Any]]] = deque()
        self._wake = asyncio.Event()
        self._writer = asyncio.create_task(self._write())

    def event(self, name: str, data: dict[str, Any]) -> None:
        self._queue.append((name, data))
        self._wake.set()

    def chunk(self, stream: str, text: str, tokens: int, taken: Taken) -> None:
        """One piece of an answer; `taken` is called with `tokens` once it has left."""
        self._queue.append(Waiting(stream, text, tokens, taken))
        self._wake.set()

    async def close(self) -> None:
        self._queue.clear()
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)

    async def drained(self) -> None:
        """Return when nothing waits."""
        while self._queue:
            await asyncio.sleep(0)

    async def _write(self) -> None:
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            item = self._queue.popleft()
            if isinstance(item, Waiting):
                await self._emit(
                    "text_chunk", {"chunk": item.text, "type": CHUNK, "id": item.stream}
                )
                item.taken(item.tokens)
            else:
                await self._emit(*item)
