"""Whether a client reads: since when it has taken nothing of what waits for it."""

import asyncio
import time
from contextlib import suppress

from gateway.inference.listener import Listener

OFTEN = 0.5
"""Seconds. Looks that are not farther apart see when text stops to leave."""


class Reading:
    """Text counts as taken when it has left for the client's machine, where much of it may wait
    unread. So the client itself is asked while others wait for its slot.

    `unsent`, `moved` and `awaited` are written and read with each chunk, by the generation.
    """

    def __init__(self) -> None:
        self.unsent = 0
        """Tokens whose text waits here."""
        self.moved = False
        """Some text has left since the last look."""
        self.awaited: asyncio.Event | None = None
        """Somebody waits until all is read: `taken` must be called."""
        self._unsent_since = 0.0
        self._looked_at = 0.0
        self._asked_at = 0.0
        self._asked = 0

    def look(self, last_chunk_at: float, now: float) -> float:
        """Since when the client has taken nothing; 0 if nothing waits for it, as far as is known.

        Looks are rare while nobody waits for the slot. At the first one after a while it is not
        known when the last text left; but if it had been much, the worker would have got credit
        and sent another chunk, so it was hardly after `last_chunk_at`.
        """
        if not self.unsent:
            self._unsent_since = 0.0
        elif self.moved or not self._unsent_since:
            self._unsent_since = now if now - self._looked_at < OFTEN else last_chunk_at
        self.moved, self._looked_at = False, now
        if self._unsent_since and self._asked_at:
            return min(self._unsent_since, self._asked_at)
        return self._unsent_since or self._asked_at

    def ask(self, listener: Listener, now: float) -> None:
        """Find out whether the client has read all that was sent, if it can be asked."""
        number = self._asked + 1
        if not self._asked_at and listener.check(lambda: self._answered(number)):
            self._asked, self._asked_at = number, now

    def forget_client(self) -> None:
        """It is disconnected: an answer will not come."""
        self._answered(self._asked)

    async def until_read(self, limit: float) -> bool:
        """Return when nothing waits for the client any more; False when it has taken nothing for
        `limit` seconds, if that is not 0."""
        while since := self.look(time.monotonic(), time.monotonic()):
            left = since + limit - time.monotonic() if limit else None
            if left is not None and left <= 0:
                return False
            self.awaited = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.awaited.wait()
            self.awaited = None
        return True

    def taken(self) -> None:
        """Some text has left, and somebody waits for it."""
        if self.awaited and not (self.unsent or self._asked_at):
            self.awaited.set()

    def _answered(self, number: int) -> None:
        if number == self._asked:
            self._asked_at = 0.0
            self.taken()
