"""Quotas: running and waiting generations of a token, and the rate limits of a client."""

import time
from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import Busy
from gateway.security.tokens_file import TokenHolder


class Quota:
    """The quota of a token holder, shared by all its sessions; first come, first served."""

    def __init__(self, holder: TokenHolder) -> None:
        self.holder = holder
        self.running = 0
        self._queue: deque[Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """A place for one generation. Raise Busy at once when too many wait already."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    async def _enter(self) -> None:
        limit = self.holder.running
        if not limit or self.running < limit:
            self.running += 1
            return
        if self.waiting >= self.holder.waiting:
            raise Busy
        turn: Future[None] = get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._leave()  # it got its place in the moment of its cancellation
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _leave(self) -> None:
        """Pass the place to the longest waiting one, if any."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                return turn.set_result(None)
        self.running -= 1


class Quotas:
    """The quotas of all token holders that are or were connected."""

    def __init__(self) -> None:
        self._of: dict[str, Quota] = {}

    def of(self, holder: TokenHolder) -> Quota:
        if holder.name not in self._of:
            self._of[holder.name] = Quota(holder)
        quota = self._of[holder.name]
        quota.holder = holder  # its limits may have changed
        return quota

    def status(self) -> dict[str, dict[str, int]]:
        """Running and waiting generations by the name of the token."""
        return {
            name: {"running": each.running, "waiting": each.waiting}
            for name, each in self._of.items()
            if name
        }


class RateLimit:
    """A token bucket: some seconds' worth at once, and a second's worth again every second."""

    def __init__(self, rate: int, seconds: float = 1.0) -> None:
        """Events, or bytes, a second; 0 is no limit."""
        self._rate = rate
        self._most = self._left = rate * seconds
        self._at = time.monotonic()

    def admits(self, count: int = 1) -> bool:
        """Whether so many more are allowed now; if so, they are counted."""
        if not self._rate:
            return True
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True
