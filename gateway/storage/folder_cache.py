"""Cache what was read from folders, read it again on changes, log each defect once.

The check for changes makes many system calls, so it runs in a thread; requests that arrive
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
"""The clock of a file system is coarse: a file that changed less than this before its signature
was taken may change again without changing the signature."""


class FolderCache(Generic[Snapshot]):
    """`read` is called in a thread, with what it returned the last time."""

    def __init__(self, read: Callable[[Snapshot | None], Snapshot]) -> None:
        self._read = read
        self._snapshot: Snapshot | None = None
        self._lock = asyncio.Lock()
        self._begun = self._done = 0

    @property
    def last(self) -> Snapshot | None:
        """The last result of `get`; it may be out of date."""
        return self._snapshot

    async def get(self) -> Snapshot:
        """A snapshot that was read after this call."""
        came = self._begun
        async with self._lock:
            if self._snapshot is None or self._done <= came:
                self._begun = turn = self._begun + 1
                self._snapshot = await asyncio.to_thread(self._read, self._snapshot)
                self._done = turn
            return self._snapshot


def signature(*paths: str | os.PathLike[str]) -> Signature:
    """Differs when one of the paths has changed; None when one changed too recently to tell.

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
        if abs(now - status.st_ctime_ns) < RACY_NS:  # further ahead: the clock was set back
            return None
        parts += (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return tuple(parts)


def unchanged(before: Signature, now: Signature) -> bool:
    return now is not None and before == now


class Defects:
    """The defects found in one reading of the folders. Each is logged once while it lasts."""

    def __init__(self, log: logging.Logger, before: Collection[Defect] = ()) -> None:
        """`before` are the defects of the previous reading."""
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
        """It was not read again: keep its defects."""
        self._now |= {(subject, what) for what in self._before.get(subject, ())}

    def all(self) -> frozenset[Defect]:
        return frozenset(self._now)
