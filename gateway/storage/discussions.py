"""A database of sessions and their discussions, which survives a restart of the gateway.

A SQLite file in the home, written by one thread of its own. It is a copy:
when it cannot be written, conversations go on in memory, and the log says so once.
Tokens are in it as hashes only.

When there are too many sessions, or the file is full, some are forgotten: first those without
exchanges, then the oldest of the holder who has the most. Those of connected clients stay.
"""

import asyncio
import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gateway.storage.atomic_file import keep_aside
from gateway.storage.discussion_queries import BEYOND_LIMITS, SCHEMA, TOO_LARGE, TOO_MANY

log = logging.getLogger(__name__)
Result = TypeVar("Result")

MAX_SESSIONS = 1000
MAX_DAYS = 30.0
MAX_BYTES = 256 * 2**20
"""Of the file."""
FREED = 1 / 8
"""Part of the file that is freed when it is full."""
QUIET_SECONDS = 60.0
"""Without an error, until the log says that discussions are kept again."""


@dataclass(frozen=True, slots=True)
class SavedSelection:
    """The selection of a session, and the id of its running generation, or ""."""

    binding: str | None = None
    model: str | None = None
    active: int | None = None
    running: str = ""


Exchange = tuple[str, str, str]
"""Path of a personality, prompt, answer."""


class DiscussionStore:
    """Methods return at once, except `find`; `close` blocks until everything is written."""

    def __init__(
        self,
        path: Path,
        max_exchanges: int,
        max_characters: int,
        *,
        max_sessions: int = MAX_SESSIONS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """The newest exchanges of each session are kept: so many, and so many characters."""
        self._path = path
        self._max_exchanges = max_exchanges
        self._max_characters = max_characters
        self._max_sessions = max_sessions
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, "discussions")
        self._database: sqlite3.Connection | None = None
        self._failing = False
        self._failed_at = 0.0
        self._thread.submit(self._guarded, self._open)

    def arrived(self, token: str) -> None:
        """Its client is connected: the session is not forgotten."""
        self._thread.submit(self._guarded, lambda: self._arrived(_hash(token)))

    def left(self, token: str) -> None:
        """Its client has disconnected."""
        self._thread.submit(self._guarded, lambda: self._left(_hash(token)))

    def save_selection(self, token: str, holder: str, selected: SavedSelection) -> None:
        self._thread.submit(
            self._guarded, lambda: self._save_selection(_hash(token), holder, selected)
        )

    def add_exchange(self, token: str, exchange: Exchange) -> None:
        self._thread.submit(self._guarded, lambda: self._add(_hash(token), exchange))

    async def find(self, token: str, holder: str) -> tuple[SavedSelection, list[Exchange]] | None:
        """The saved session with this token and holder, whose client is connected now; None if
        there is none, or on an error."""
        work = self._thread.submit(self._guarded, lambda: self._find(_hash(token), holder))
        return await asyncio.wrap_future(work)

    def close(self) -> None:
        self._thread.submit(self._guarded, self._shut)
        self._thread.shutdown()

    # Run in the thread.

    def _guarded(self, work: Callable[[], Result]) -> Result | None:
        try:
            try:
                result = work()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                if not self._make_room():
                    raise
                result = work()
        except (sqlite3.Error, OSError) as error:
            if not self._failing:
                log.warning("discussions are not kept over a restart: %s", error)
            self._failing, self._failed_at = True, time.monotonic()
            return None
        quiet = time.monotonic() - self._failed_at > QUIET_SECONDS
        if self._failing and quiet and self._database:
            log.info("discussions are kept again")
            self._failing = False
        return result

    def _open(self) -> None:
        try:
            self._database = _connected(self._path, self._max_bytes)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = keep_aside(self._path)
            where = f"it is kept as {aside.name}" if aside else "it could not be moved away"
            log.warning("the discussions in %s are damaged (%s); %s", self._path, error, where)
            self._database = _connected(self._path, self._max_bytes)
        self._forget()

    def _forget(self) -> None:
        """Forget the sessions that are too old or too many."""
        if self._database is None:
            return
        with self._database as database:
            database.execute(
                "DELETE FROM sessions WHERE seen < ? "
                "AND token NOT IN (SELECT token FROM connected)",
                (time.time() - MAX_DAYS * 86400,),
            )
            [count] = database.execute("SELECT count(*) FROM sessions").fetchone()
            if count > self._max_sessions:
                limits = self._max_sessions, count - self._max_sessions
                tokens = database.execute(TOO_MANY, limits).fetchall()
                database.executemany("DELETE FROM sessions WHERE token = ?", tokens)

    def _make_room(self) -> bool:
        """The file is full. Return whether any session could be forgotten."""
        if self._database is None:
            return False
        goal, freed, tokens = self._max_bytes * FREED, 0.0, []
        for token, size in self._database.execute(TOO_LARGE).fetchall():
            tokens.append((token,))
            freed += size
            if freed >= goal:
                break
        with self._database as database:
            database.executemany("DELETE FROM sessions WHERE token = ?", tokens)
        return bool(tokens)

    def _arrived(self, token: str) -> None:
        if self._database is not None:
            with self._database as database:
                database.execute("INSERT OR IGNORE INTO connected VALUES (?)", (token,))

    def _left(self, token: str) -> None:
        if self._database is not None:
            with self._database as database:
                database.execute("DELETE FROM connected WHERE token = ?", (token,))
                database.execute(
                    "UPDATE sessions SET seen = ? WHERE token = ?", (time.time(), token)
                )

    def _save_selection(self, token: str, holder: str, selected: SavedSelection) -> None:
        if self._database is None:
            return
        values = (selected.binding, selected.model, selected.active, selected.running)
        with self._database as database:
            database.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (token) DO UPDATE SET seen = excluded.seen, "
                "binding = excluded.binding, model = excluded.model, "
                "active = excluded.active, running = excluded.running",
                (token, holder, time.time(), *values),
            )
        self._forget()

    def _add(self, token: str, exchange: Exchange) -> None:
        if self._database is None:
            return
        with self._database as database:
            database.execute(
                "INSERT INTO exchanges (token, personality, prompt, answer) "
                "SELECT token, ?, ?, ? FROM sessions WHERE token = ?",  # it may be forgotten
                (*exchange, token),
            )
            database.execute(BEYOND_LIMITS, (token, self._max_exchanges, self._max_characters))

    def _find(self, token: str, holder: str) -> tuple[SavedSelection, list[Exchange]] | None:
        if self._database is None:
            return None
        row = self._database.execute(
            "SELECT binding, model, active, running FROM sessions WHERE token = ? AND holder = ?",
            (token, holder),
        ).fetchone()
        if row is None:
            return None
        self._arrived(token)
        exchanges = self._database.execute(
            "SELECT personality, prompt, answer FROM exchanges WHERE token = ? ORDER BY number",
            (token,),
        ).fetchall()
        return SavedSelection(*row), exchanges

    def _shut(self) -> None:
        if self._database:
            self._database.close()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _connected(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Raise sqlite3.DatabaseError for a damaged file, OperationalError for an unusable one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.close(descriptor)
    database = sqlite3.connect(path, check_same_thread=False, timeout=2.0)
    try:
        with closing(database.execute("PRAGMA quick_check(1)")) as check:
            if check.fetchone() != ("ok",):
                raise sqlite3.DatabaseError("its check failed")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        page = database.execute("PRAGMA page_size").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {max_bytes // page}")
        database.execute("PRAGMA temp_store = MEMORY")
        database.executescript(SCHEMA)
    except BaseException:
        database.close()
        raise
    return database
