"""How much may one who has a token have generated at the same time, and waiting?"""

from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.errors import Busy
from gateway.security.access import Holder


class Allowance:
    """One holder's, shared by all of its sessions. In the order in which they came."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.running = 0
        self._line: deque[Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._line)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """For one generation. Raise Busy at once when too many wait for one already."""
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
        self._line.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was given a place in the moment in which it gave up
            elif turn in self._line:
                self._line.remove(turn)
            raise

    def _leave(self) -> None:
        """The place goes to who waits longest, if anybody does."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                return turn.set_result(None)
        self.running -= 1


class Allowances:
    """Of all holders that are or were here."""

    def __init__(self) -> None:
        self._of: dict[str, Allowance] = {}

    def of(self, holder: Holder) -> Allowance:
        if holder.name not in self._of:
            self._of[holder.name] = Allowance(holder)
        allowance = self._of[holder.name]
        allowance.holder = holder  # its limits may be others than the last time
        return allowance

    def status(self) -> dict[str, dict[str, int]]:
        """Of each token's name what runs and what waits."""
        return {
            name: {"running": each.running, "waiting": each.waiting}
            for name, each in self._of.items()
            if name
        }
