"""A file is read again when it has changed, and only then, whatever the clock does."""

import asyncio
import time
from pathlib import Path

import pytest

from gateway.storage import folder_cache
from gateway.storage.folder_cache import RACY_NS, FolderCache, signature, unchanged


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("x")
    return path


def clock(monkeypatch: pytest.MonkeyPatch, path: Path, ahead: int) -> None:
    """The clock shows this many nanoseconds more than when the file changed."""
    now = path.stat().st_ctime_ns + ahead
    monkeypatch.setattr(folder_cache.time, "time_ns", lambda: now)


@pytest.mark.parametrize("ahead", [-RACY_NS + 1, 0, RACY_NS - 1])
def test_one_that_changed_just_now_cannot_be_told(
    written: Path, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, written, ahead)
    assert signature(written) is None and not unchanged(None, signature(written))


@pytest.mark.parametrize("ahead", [RACY_NS, 10**15, -RACY_NS, -3600 * 10**9])
def test_one_that_changed_earlier_or_before_the_clock_was_set_back_is_known(
    written: Path, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(monkeypatch, written, ahead)
    before = signature(written)
    assert unchanged(before, signature(written))
    written.write_text("xy")
    assert not unchanged(before, signature(written))


def test_those_who_come_during_one_reading_share_the_next() -> None:
    readings = 0

    def read(before: int | None) -> int:
        nonlocal readings
        time.sleep(0.01)
        readings += 1
        return readings

    async def scenario() -> None:
        cache = FolderCache(read)
        first = asyncio.create_task(cache.get())
        await asyncio.sleep(0)
        assert await asyncio.gather(first, *(cache.get() for _ in range(50))) == [1, *[2] * 50]

    asyncio.run(scenario())
