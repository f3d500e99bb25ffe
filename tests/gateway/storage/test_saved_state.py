"""Is the saved state what was acknowledged last, whatever happens to the disk?"""

import asyncio
import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import StateNotSaved
from gateway.storage.atomic_file import MAX_KEPT_ASIDE
from gateway.storage.saved_state import SavedState
from gateway.storage.state import MAX_HOLDERS, MAX_MOUNTED


def everything(state: SavedState) -> object:
    return (
        state.default_binding, state.default_model, state.mounted, state.active,
        state.last_model("echo"),
    )  # fmt: skip


def of(state: SavedState, holder: str) -> object:
    return *state.default_of(holder), state.active_of(holder), state.last_model("echo", holder)


async def filled(path: Path) -> SavedState:
    state = SavedState(path)
    await state.change(default_binding="echo", default_model="lorem")
    await state.change(mounted=["a/b", "c/d"])
    await state.change(active=1)
    return state


def test_without_a_file_it_is_empty(tmp_path: Path) -> None:
    state = SavedState(tmp_path / "home" / "state.json")
    assert everything(state) == ("", "", (), None, "")
    assert list(tmp_path.iterdir()) == []


def test_what_was_changed_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "home" / "state.json"
    state = asyncio.run(filled(path))
    assert everything(SavedState(path)) == everything(state)
    assert everything(state) == ("echo", "lorem", ("a/b", "c/d"), 1, "lorem")
    assert path.stat().st_mode & 0o077 == 0


def test_each_binding_remembers_its_model(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = await filled(tmp_path / "state.json")
        await state.change(default_binding="llama_cpp", default_model="pebble")
        await state.change(default_binding="other", default_model="")
        assert state.last_model("echo") == "lorem"
        assert state.last_model("llama_cpp") == "pebble"
        assert state.last_model("other") == ""

    asyncio.run(scenario())


def test_a_holder_s_defaults_are_before_the_server_s_and_nobody_else_s(tmp_path: Path) -> None:
    path = tmp_path / "state.json"

    async def scenario() -> None:
        state = await filled(path)
        await state.change("alice", default_binding="single", default_model="two")
        await state.change("bob", active=0)
        for read in (state, SavedState(path)):
            assert of(read, "alice") == ("single", "two", 1, "lorem")
            assert of(read, "bob") == ("echo", "lorem", 0, "lorem")
            assert of(read, "carol") == of(read, "") == ("echo", "lorem", 1, "lorem")
            assert read.last_model("single", "alice") == "two"
            assert read.last_model("single", "bob") == read.last_model("single") == ""
            assert read.model_to_preload("echo") == "lorem"
        await state.change(default_model="other")
        await state.change("alice", default_binding="echo", default_model="")
        assert of(state, "alice") == ("echo", "", 1, "other")
        assert of(state, "bob") == ("echo", "other", 0, "other")

    asyncio.run(scenario())


def test_a_state_of_an_earlier_version_is_read_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state.json").write_text(
        """{
 "default_binding": "echo",
 "default_model": "lorem",
 "mounted": ["a/b", "c/d"],
 "active": 1,
 "models": {"echo": "lorem"}
}"""
    )
    state = SavedState(tmp_path / "state.json")
    assert everything(state) == ("echo", "lorem", ("a/b", "c/d"), 1, "lorem")
    assert not caplog.records and not list(tmp_path.glob("*.corrupt-*"))


def test_the_holder_whose_last_selection_is_the_oldest_is_forgotten(tmp_path: Path) -> None:
    holders = {f"h{n}": {"default_binding": "b", "default_model": "m"} for n in range(MAX_HOLDERS)}
    (tmp_path / "state.json").write_text(json.dumps({"holders": holders}))

    async def scenario() -> None:
        state = SavedState(tmp_path / "state.json")
        await state.change("h0", default_binding="b", default_model="m")  # the same again
        await state.change("new", default_binding="b", default_model="m")
        for read in (state, SavedState(tmp_path / "state.json")):
            known = [name for name in (*holders, "new") if read.default_of(name) == ("b", "m")]
            assert known == ["h0", *list(holders)[2:], "new"]

    asyncio.run(scenario())


def test_ids_are_stable_and_concurrent_changes_lose_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = SavedState(tmp_path / "state.json")
        names = [f"a/{n}" for n in range(20)]
        ids = await asyncio.gather(*(state.mount(name) for name in names + names))
        assert ids[:20] == ids[20:] and sorted(ids[:20]) == list(range(20))
        # What a caller read before others mounted takes nothing away from them.
        await state.change(mounted=["a/3", "new"])
        assert [state.mounted[id] for id in ids[:20]] == names
        assert state.mounted.index("new") == 20
        assert everything(SavedState(tmp_path / "state.json")) == everything(state)

    asyncio.run(scenario())


def test_the_list_is_bounded_and_nothing_is_half_changed(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = SavedState(tmp_path / "state.json")
        await state.change(mounted=[str(n) for n in range(MAX_MOUNTED)])
        before = (tmp_path / "state.json").read_bytes()
        for fields in (
            {"mounted": ["more"]},
            {"active": MAX_MOUNTED},
            {"default_model": "x" * 9999},
        ):
            with pytest.raises(StateNotSaved):
                await state.change(**fields)
        assert (tmp_path / "state.json").read_bytes() == before
        assert len(state.mounted) == MAX_MOUNTED and state.active is None

    asyncio.run(scenario())


def test_a_save_that_fails_leaves_file_and_memory_and_says_so(tmp_path: Path) -> None:
    """A file where the folder was, and a folder where the new file goes: root is refused too."""
    path = tmp_path / "home" / "state.json"

    async def scenario() -> None:
        state = await filled(path)
        before, content = everything(state), path.read_bytes()
        path.with_name("state.json.new").mkdir()
        with pytest.raises(StateNotSaved, match="could not be saved"):
            await state.change(default_model="other")
        assert everything(state) == before and path.read_bytes() == content
        path.with_name("state.json.new").rmdir()
        (tmp_path / "home").rename(tmp_path / "away")
        (tmp_path / "home").touch()
        with pytest.raises(StateNotSaved):
            await state.change(default_model="other")
        assert everything(state) == before
        (tmp_path / "home").unlink()
        (tmp_path / "away").rename(tmp_path / "home")
        await state.change(default_model="other")
        assert everything(SavedState(path)) == everything(state)

    asyncio.run(scenario())


def test_a_full_disk_is_told_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"

    async def scenario() -> None:
        state = await filled(path)
        before, content = everything(state), path.read_bytes()
        path.with_name("state.json.new").symlink_to("/dev/full")
        with pytest.raises(StateNotSaved, match="No space left"):
            await state.change(default_model="other")
        assert everything(state) == before and path.read_bytes() == content
        await state.change(default_model="other")  # the next attempt has a name of its own again
        assert everything(SavedState(path)) == everything(state)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b'{"mounted": "a"}',
        b'{"mounted": ["a", "a"]}', b'{"mounted": [1]}', b'{"active": true}', b'{"active": 0}',
        b'{"active": -1, "mounted": ["a"]}', b'{"default_model": null}', b'{"models": []}',
        b'{"models": {"a": 1}}', b"1" * 6000, b" " * 2**23,
        b'{"holders": []}', b'{"holders": {"a": 1}}', b'{"holders": {"a": {"active": 0}}}',
        b'{"holders": {"a": {"default_model": 1}}}', b'{"holders": {"a": {"models": [1]}}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_kept_aside_and_the_backup_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "state.json"
    asyncio.run(filled(path))
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        state = SavedState(path)
    assert everything(state) == ("echo", "lorem", ("a/b", "c/d"), None, "lorem")
    assert (tmp_path / "state.json.corrupt-1").read_bytes() == content
    assert len(caplog.records) == 1 and "corrupt-1" in caplog.text
    asyncio.run(state.change(active=0))
    assert everything(SavedState(path)) == everything(state)
    assert len(caplog.records) == 1


def test_without_a_usable_backup_the_defaults_serve(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for n in range(MAX_KEPT_ASIDE + 3):
        path.write_text(f"damaged {n}")
        path.with_name("state.json.bak").write_text("too")
        assert everything(SavedState(path)) == ("", "", (), None, "")
    assert len(list(tmp_path.glob("*.corrupt-*"))) == MAX_KEPT_ASIDE


def test_a_fifo_or_a_folder_in_its_place_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    os.mkfifo(path)
    assert everything(SavedState(path)) == ("", "", (), None, "")
    path.mkdir()
    assert everything(SavedState(path)) == ("", "", (), None, "")
    asyncio.run(SavedState(path).mount("a/b"))
    assert SavedState(path).mounted == ("a/b",)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(
        lambda value: json.dumps(
            {"mounted": value, "active": value, "holders": {"a": {"models": value}}}
        ).encode()
    )
)
def test_any_content_gives_a_state_that_can_be_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(content)
    state = SavedState(path)
    asyncio.run(state.mount("a/b"))
    assert everything(SavedState(path)) == everything(state)
    path.unlink()


def test_a_caller_that_is_cancelled_leaves_file_and_memory_alike(tmp_path: Path) -> None:
    path = tmp_path / "state.json"

    async def scenario() -> SavedState:
        state = SavedState(path)
        for n in range(30):
            change = asyncio.create_task(state.change(default_binding=f"b{n}"))
            await asyncio.sleep(0)
            change.cancel()
        return state

    state = asyncio.run(scenario())  # which waits for its threads
    assert everything(SavedState(path)) == everything(state)
