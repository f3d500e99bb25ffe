"""What has the model thread said that the link has not sent yet?

One thread puts, the other takes; appending to and popping from a deque needs no
lock. The taker sleeps in a poll, so a full pipe byte wakes it.
"""

import os
from collections import deque
from typing import cast

from protocol.messages import Chunk, Chunks, Message

ROOM = 4096
"""Chunks that may wait. Credit keeps them far below, unless a gateway grants without reading."""
FRAME = 256
"""Chunks that go into one frame."""


class Outbox:
    def __init__(self) -> None:
        self._waiting: deque[Chunk | Message] = deque()
        self._signalled = False
        self._awaited = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    # The model thread.

    def put(self, said: list[Chunk | Message]) -> None:
        self._waiting.extend(said)
        self.signal()

    def full(self) -> bool:
        """Whether to wait until the taker sees `relieved`.

        The mark comes before the second look: a taker that emptied everything between two
        looks would otherwise never learn that somebody waits.
        """
        if len(self._waiting) < ROOM:
            return False
        self._awaited = True
        return len(self._waiting) >= ROOM

    # Both, and signal handlers.

    def signal(self) -> None:
        """Wake the taker. After the append: whoever finds the flag set is sure to be seen."""
        if not self._signalled:
            self._signalled = True
            os.write(self._writer, b"!")

    # The link thread.

    def fileno(self) -> int:
        """Readable when there is something to look at."""
        return self._reader

    def lower(self) -> None:
        """Take the signal back. Before looking: what is put from now on signals again."""
        os.read(self._reader, 64)
        self._signalled = False

    def take(self) -> Message | None:
        """The next message; chunks that wait in a row go together, each as it is: whether a
        client gets them as one event is for the gateway to say, which knows how slow it is."""
        if not self._waiting:
            return None
        first = self._waiting.popleft()
        if not isinstance(first, Chunk):
            return first
        chunks = [first]
        while len(chunks) < FRAME and self._waiting and isinstance(self._waiting[0], Chunk):
            chunks.append(cast(Chunk, self._waiting.popleft()))
        return Chunks(chunks)

    def relieved(self) -> bool:
        """Whether the putter has to be told, once, that there is room again."""
        if not self._awaited or len(self._waiting) >= ROOM:
            return False
        self._awaited = False
        return True

    def clear(self) -> None:
        self._waiting.clear()

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
