"""End the connections of remote workers whose keys were withdrawn.

The key is checked in each handshake, but a connection that exists has no handshake any more.
"""

import asyncio
from collections.abc import Callable

from gateway.workers.link import Link
from gateway.workers.worker import Worker

CHECK_SECONDS = 0.3
"""A key counts as withdrawn at the second check that misses it: an editor may write the file
in two steps."""


class KeyWatch:
    def __init__(self, link: Link, has_entry: Callable[[str], bool]) -> None:
        """`has_entry` says whether an entry is in the list of remote workers now."""
        self._link = link
        self._has_entry = has_entry
        self._missed: set[Worker] = set()  # at the last check

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check()

    def check(self) -> None:
        remote = [worker for worker in self._link.fleet.all() if worker.remote]
        missed = {worker for worker in remote if not self._has_entry(worker.entry)}
        for worker in missed & self._missed:
            self._link.withdraw(worker)
        self._missed = missed
