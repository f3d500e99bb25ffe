"""What is forgotten first of the stored sessions, and what never is."""

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.storage import discussions
from gateway.storage.discussions import DiscussionStore, SavedSelection
from tests.support.harness import run

SAID = ("path", "what was asked", "what was answered")


@contextmanager
def opened(folder: Path, sessions: int = 10, size: int = 2**28) -> Iterator[DiscussionStore]:
    store = DiscussionStore(
        folder / "discussions.sqlite", 256, 1000, max_sessions=sessions, max_bytes=size
    )
    try:
        yield store
    finally:
        store.close()


def add(store: DiscussionStore, holder: str, names: list[str], exchanges: int = 1) -> None:
    """Sessions of clients that connect, say something and disconnect."""
    for name in names:
        store.arrived(name)
        store.save_selection(name, holder, SavedSelection("echo"))
        for _ in range(exchanges):
            store.add_exchange(name, SAID)
        store.left(name)


def numbered(name: str, count: int) -> list[str]:
    return [f"{name} {number}" for number in range(count)]


def found(store: DiscussionStore, holder: str, names: list[str]) -> list[str]:
    """Those that are still there, with all exchanges."""

    async def look() -> list[str]:
        return [name for name in names if await store.find(name, holder) is not None]

    return list(run(look()))


def test_what_has_no_exchanges_goes_first_and_never_a_connected_session(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "", ["connected, has said nothing"], exchanges=0)
        store.arrived("connected, has said nothing")
        store.save_selection("away, gets its first answer", "", SavedSelection(running="id"))
        add(store, "", ["away, has said something"])
        add(store, "", numbered("flood", 100), exchanges=0)
        others = [
            "connected, has said nothing",
            "away, gets its first answer",
            "away, has said something",
        ]
        assert found(store, "", others) == others
        assert found(store, "", numbered("flood", 100)) == numbered("flood", 100)[-7:]


def test_more_connected_sessions_than_may_be_kept_are_all_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        names = numbered("connected", 20)
        for name in names:
            store.arrived(name)
            store.save_selection(name, "", SavedSelection("echo"))
            store.add_exchange(name, SAID)
        assert found(store, "", names) == names
        for name in names:
            store.left(name)
        add(store, "", ["another"])
        assert found(store, "", names) == names[-9:]


def test_a_holder_that_floods_loses_only_its_own(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "alice", numbered("alice", 4))
        add(store, "bob", numbered("bob", 2))
        add(store, "mallory", numbered("mallory", 50))
        assert found(store, "alice", numbered("alice", 4)) == numbered("alice", 4)
        assert found(store, "bob", numbered("bob", 2)) == numbered("bob", 2)
        assert found(store, "mallory", numbered("mallory", 50)) == numbered("mallory", 50)[-4:]


def test_connected_sessions_of_one_holder_push_out_none_of_another(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        add(store, "alice", numbered("alice", 7))
        for name in numbered("mallory", 30):
            store.arrived(name)
            store.save_selection(name, "mallory", SavedSelection("echo"))
            store.add_exchange(name, SAID)
        assert found(store, "alice", numbered("alice", 7)) == numbered("alice", 7)[-5:]
        for name in numbered("mallory", 30):
            store.left(name)
        add(store, "alice", ["another"])
        assert found(store, "alice", [*numbered("alice", 7), "another"])[-1] == "another"
        assert len(found(store, "mallory", numbered("mallory", 30))) == 5


def test_a_full_file_forgets_of_the_holder_who_has_the_most(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It holds far fewer than half of the allowed number of sessions."""
    large = ("path", "x" * 400, "y" * 400)
    with opened(tmp_path, sessions=1000, size=2**18) as store:
        add(store, "mallory", ["connected"])
        store.arrived("connected")
        add(store, "alice", numbered("alice", 20))
        for name in numbered("mallory", 400):
            add(store, "mallory", [name])
            store.add_exchange(name, large)  # it ended while the client was away
        assert found(store, "alice", numbered("alice", 20)) == numbered("alice", 20)
        assert found(store, "mallory", ["connected"]) == ["connected"]
        kept = found(store, "mallory", numbered("mallory", 400))
        assert 50 < len(kept) < 300 and kept == numbered("mallory", 400)[-len(kept) :]
    assert not caplog.records
    assert (tmp_path / "discussions.sqlite").stat().st_size <= 2**18


def test_a_file_that_stays_full_fills_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records]

    with opened(tmp_path, sessions=1000, size=2**17) as store:
        for name in numbered("connected", 200):  # none of which may be forgotten
            store.arrived(name)
            store.save_selection(name, "", SavedSelection("echo"))
            store.add_exchange(name, ("path", "x" * 400, "y" * 400))
        # Now and then a small one still fits: this is not told each time.
        assert found(store, "", ["connected 0"]) == ["connected 0"]
        assert lines() == ["discussions are not kept over a restart: database or disk is full"]
        for name in numbered("connected", 100):
            store.left(name)
        monkeypatch.setattr(discussions, "QUIET_SECONDS", 0.0)
        add(store, "", ["later"])
        assert found(store, "", ["later"]) == ["later"]
        assert lines()[1:] == ["discussions are kept again"]


def test_of_one_session_the_newest_exchanges_are_kept_within_its_limits(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.save_selection("token", "", SavedSelection())
        for number in range(30):
            store.add_exchange("token", ("path", f"{number:050}", "y" * 50))
        exchanges = asyncio.run(store.find("token", ""))
        assert exchanges is not None
        assert [int(prompt) for _, prompt, _ in exchanges[1]] == list(range(20, 30))
        store.add_exchange("token", ("path", "x" * 1001, ""))
    with closing(sqlite3.connect(tmp_path / "discussions.sqlite")) as database:
        [count] = database.execute("SELECT count(*) FROM exchanges").fetchone()
    assert count == 0
