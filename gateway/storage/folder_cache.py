"""When is what was read from the disk read again? When somebody asks, and it has changed.

The check itself is many system calls, so it runs in a thread; those who ask
while one runs share the next one.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Snapshot = TypeVar("Snapshot")
Signature = tuple[int, ...] | None

RACY_NS = 50_000_000
"""A file system's clock ticks coarsely: what changed this short a time before it was looked
at may change again without looking different."""


class Fresh(Generic[Snapshot]):
    """`read` is called in a thread, with what it returned the last time."""

    def __init__(self, read: Callable[[Snapshot | None], Snapshot]) -> None:
        self._read = read
        self._snapshot: Snapshot | None = None
        self._lock = asyncio.Lock()
        self._begun = self._done = 0

    @property
    def last(self) -> Snapshot | None:
        """What `get` returned last, which may be out of date."""
        return self._snapshot

    async def get(self) -> Snapshot:
        """The state of the disk at a moment after this call."""
        came = self._begun
        async with self._lock:
            if self._snapshot is None or self._done <= came:
                self._begun = turn = self._begun + 1
                self._snapshot = await asyncio.to_thread(self._read, self._snapshot)
                self._done = turn
            return self._snapshot


def signature(*paths: str | os.PathLike[str]) -> Signature:
    """Differs when one of the paths changed; None, which equals nothing, when one may yet.

    A path that does not exist has a signature too. Compare with `unchanged`.
    """
    now = time.time_ns()
    parts: list[int] = []
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            parts.append(-1)
            continue
        if status.st_ctime_ns > now - RACY_NS:
            return None
        parts += (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return tuple(parts)


def unchanged(before: Signature, now: Signature) -> bool:
    return now is not None and before == now
