"""Whether a client reads: since when it has taken nothing of what waits for it."""

import asyncio
import time
from contextlib import suppress

from gateway.inference.listener import Listener
from gateway.scheduling.turns import Turn


class Reading:
    """Text counts as taken when it has left for the client's machine, where much of it may wait
    unread. So the client itself is asked while others wait for its slot."""

    def __init__(self) -> None:
        self.unsent_since = 0.0
        """Since when text waits here, and nothing of it has left; 0 for none."""
        self._asked_at = 0.0
        self._asked = 0
        self._turn: Turn | None = None
        self._read: asyncio.Event | None = None  # somebody waits for it

    @property
    def unread_since(self) -> float:
        """0 if nothing waits for it, as far as is known."""
        if self.unsent_since and self._asked_at:
            return min(self.unsent_since, self._asked_at)
        return self.unsent_since or self._asked_at

    def note_unsent(self, since: float) -> None:
        """Set `unsent_since`. It is called twice for each chunk, so it must be cheap."""
        self.unsent_since = since
        self._changed()

    def ask(self, listener: Listener, now: float) -> None:
        """Find out whether the client has read all that was sent, if it can be asked."""
        number = self._asked + 1
        if not self._asked_at and listener.check(lambda: self._answered(number)):
            self._asked, self._asked_at = number, now
            self._changed()

    def forget_client(self) -> None:
        """It is disconnected: an answer will not come."""
        self._answered(self._asked)

    def follow(self, turn: Turn | None) -> None:
        """Keep this turn's `unread_since` up to date."""
        self._turn = turn
        self._changed()

    async def until_read(self, limit: float) -> bool:
        """Return when nothing waits for the client any more; False when it has taken nothing for
        `limit` seconds, if that is not 0."""
        self._read = asyncio.Event()
        while since := self.unread_since:
            left = since + limit - time.monotonic() if limit else None
            if left is not None and left <= 0:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._read.wait()
        return True

    def _answered(self, number: int) -> None:
        if number == self._asked:
            self._asked_at = 0.0
            self._changed()

    def _changed(self) -> None:
        since = self.unread_since
        if self._turn:
            self._turn.unread_since = since
        if self._read and not since:
            self._read.set()
