"""The queue of output between the model thread and the link thread.

The model thread puts, the link thread takes. Append and popleft of a deque need no
lock. The link thread sleeps in poll, so a byte in a pipe wakes it.
"""

import os
from collections import deque
from typing import cast

from protocol.messages import Chunk, Chunks, Message

ROOM = 4096
"""Chunks that may wait. Credit keeps the queue far below, unless a gateway grants credit and
does not read."""
FRAME = 256
"""Maximum number of chunks in one frame."""


class Outbox:
    def __init__(self) -> None:
        self._queue: deque[Chunk | Message] = deque()
        self._signalled = False
        self._producer_waits = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    # The model thread.

    def put(self, output: list[Chunk | Message]) -> None:
        self._queue.extend(output)
        self.signal()

    def full(self) -> bool:
        """Whether to wait until the link thread sees `relieved`.

        The flag is set before the second check. Otherwise a link thread that empties the
        queue between the two checks would not know that the model thread waits.
        """
        if len(self._queue) < ROOM:
            return False
        self._producer_waits = True
        return len(self._queue) >= ROOM

    # Both threads, and signal handlers.

    def signal(self) -> None:
        """Wake the link thread. Call it after the append: if the flag is already set, the link
        thread has not looked yet and will see the new output."""
        if not self._signalled:
            self._signalled = True
            os.write(self._writer, b"!")

    def wakeup_fd(self) -> int:
        """For `signal.set_wakeup_fd`: a byte in it wakes the link thread."""
        return self._writer

    # The link thread.

    def fileno(self) -> int:
        """Readable after a signal."""
        return self._reader

    def lower(self) -> None:
        """Reset the signal. Call it before `take`: output that is put later signals again."""
        os.read(self._reader, 64)
        self._signalled = False

    def take(self) -> Message | None:
        """The next message. Consecutive chunks share one message, but are not merged: only the
        gateway knows how slow a client is, and so whether to merge them into one event."""
        if not self._queue:
            return None
        first = self._queue.popleft()
        if not isinstance(first, Chunk):
            return first
        chunks = [first]
        while len(chunks) < FRAME and self._queue and isinstance(self._queue[0], Chunk):
            chunks.append(cast(Chunk, self._queue.popleft()))
        return Chunks(chunks)

    def relieved(self) -> bool:
        """Whether the model thread waits and there is room again; True only once per wait."""
        if not self._producer_waits or len(self._queue) >= ROOM:
            return False
        self._producer_waits = False
        return True

    def clear(self) -> None:
        self._queue.clear()

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
