"""A database of sessions and their discussions, which survives a restart of the gateway.

A SQLite file in the home, written by one thread of its own. It is a copy:
when it cannot be written, conversations go on in memory, and the log says so once.
Tokens are in it as hashes only.
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

log = logging.getLogger(__name__)
Result = TypeVar("Result")

MAX_SESSIONS = 1000
MAX_DAYS = 30.0
MAX_BYTES = 256 * 2**20
"""Of the file; when it is full, the older half of the sessions is deleted."""
SCHEMA = """
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS sessions (
    token TEXT PRIMARY KEY, holder TEXT NOT NULL, seen REAL NOT NULL,
    binding TEXT, model TEXT, active INTEGER, running TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS exchanges (
    number INTEGER PRIMARY KEY,
    token TEXT NOT NULL REFERENCES sessions (token) ON DELETE CASCADE,
    personality TEXT NOT NULL, prompt TEXT NOT NULL, answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS of_session ON exchanges (token, personality, number);
"""


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

    def __init__(self, path: Path, max_exchanges: int) -> None:
        """The newest `max_exchanges` of each session are kept."""
        self._path = path
        self._max_exchanges = max_exchanges
        self._thread = ThreadPoolExecutor(1, "discussions")
        self._database: sqlite3.Connection | None = None
        self._failing = False
        self._thread.submit(self._guarded, self._open)

    def save_selection(self, token: str, holder: str, selected: SavedSelection) -> None:
        self._thread.submit(
            self._guarded, lambda: self._save_selection(_hash(token), holder, selected)
        )

    def add_exchange(self, token: str, exchange: Exchange) -> None:
        self._thread.submit(self._guarded, lambda: self._add(_hash(token), exchange))

    async def find(self, token: str, holder: str) -> tuple[SavedSelection, list[Exchange]] | None:
        """The saved session with this token and holder; None if there is none, or on an error."""
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
                self._forget(MAX_SESSIONS // 2)
                result = work()
        except (sqlite3.Error, OSError) as error:
            if not self._failing:
                log.warning("discussions are not kept over a restart: %s", error)
            self._failing = True
            return None
        if self._failing and self._database:
            log.info("discussions are kept again")
            self._failing = False
        return result

    def _open(self) -> None:
        try:
            self._database = _connected(self._path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            aside = keep_aside(self._path)
            where = f"it is kept as {aside.name}" if aside else "it could not be moved away"
            log.warning("the discussions in %s are damaged (%s); %s", self._path, error, where)
            self._database = _connected(self._path)
        self._forget()

    def _forget(self, left: int = MAX_SESSIONS) -> None:
        if self._database is None:
            return
        with self._database as database:
            database.execute(
                "DELETE FROM sessions WHERE seen < ? OR token NOT IN "
                "(SELECT token FROM sessions ORDER BY seen DESC LIMIT ?)",
                (time.time() - MAX_DAYS * 86400, left),
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
                "INSERT INTO exchanges (token, personality, prompt, answer) VALUES (?, ?, ?, ?)",
                (token, *exchange),
            )
            database.execute(
                "DELETE FROM exchanges WHERE token = ? AND number NOT IN "
                "(SELECT number FROM exchanges WHERE token = ? ORDER BY number DESC LIMIT ?)",
                (token, token, self._max_exchanges),
            )

    def _find(self, token: str, holder: str) -> tuple[SavedSelection, list[Exchange]] | None:
        if self._database is None:
            return None
        row = self._database.execute(
            "SELECT binding, model, active, running FROM sessions WHERE token = ? AND holder = ?",
            (token, holder),
        ).fetchone()
        if row is None:
            return None
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


def _connected(path: Path) -> sqlite3.Connection:
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
        database.execute(f"PRAGMA max_page_count = {MAX_BYTES // page}")
        database.executescript(SCHEMA)
    except BaseException:
        database.close()
        raise
    return database
