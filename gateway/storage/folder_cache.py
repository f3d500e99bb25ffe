"""Cache what was read from folders, read it again on changes, log each defect once.

The check itself is many system calls, so it runs in a thread; requests that arrive
during one check share the next one.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection
from typing import Generic, TypeVar

Snapshot = TypeVar("Snapshot")
Signature = tuple[int, ...] | None
Defect = tuple[str, str]
"""The file or folder that has it, and what is wrong with it."""

RACY_NS = 50_000_000
"""A file system's clock ticks coarsely: a file that changed this short a time before its
signature was taken may change again without another signature."""


class FolderCache(Generic[Snapshot]):
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


class Defects:
    """Of one reading of the folders. A defect is logged once, for as long as it lasts."""

    def __init__(self, log: logging.Logger, before: Collection[Defect] = ()) -> None:
        """`before` are those of the reading before this one."""
        self._log = log
        self._before: dict[str, set[str]] = {}
        for subject, what in before:
            self._before.setdefault(subject, set()).add(what)
        self._now: set[Defect] = set()

    def add(self, subject: str, what: str) -> None:
        if what not in self._before.get(subject, ()) and (subject, what) not in self._now:
            self._log.warning("%s: %s", subject, what)
        self._now.add((subject, what))

    def keep(self, subject: str) -> None:
        """It was not read again: its defects last."""
        self._now |= {(subject, what) for what in self._before.get(subject, ())}

    def all(self) -> frozenset[Defect]:
        return frozenset(self._now)
