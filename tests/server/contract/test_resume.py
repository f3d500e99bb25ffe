"""A client that reconnects gets its session back, and the events that it has missed."""

import asyncio
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import Client, Event, Home, chunks, client, home, run, until

PACED = {"binding_name": "echo", "model_name": "lorem-10ms"}
PLAIN = "english/fun/plain"


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    with home(folder, bindings_path=str(bindings), resume_window="1.5", **PACED) as server:
        server.gateway()
        server.worker("echo")
        server.ready()
        yield server


def metric(server: Home, name: str) -> float:
    lines = server.http("/metrics")[1].splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"lollms_{name} ")))


async def begun(connected: Client, tokens: int = 150) -> list[Event]:
    request = {"prompt": "x", "n_predicts": tokens, "parameters": {"seed": 3}}
    await connected.emit("generate_text", request)
    return [await connected.next("text_chunk")]


async def whole(server: Home, tokens: int = 150) -> str:
    async with client(server) as connected:
        end = ends_once(await connected.generate("x", n_predicts=tokens, parameters={"seed": 3}))
        return str(end["text"])


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]])
def test_who_comes_back_gets_what_came_meanwhile(paced: Home, transports: list[str]) -> None:
    async def scenario() -> tuple[list[Event], str]:
        async with client(paced, auth={"session": ""}) as first:
            token = (await first.greeting())["token"]
            events = await begun(first)
        have, id = len(chunks(events)), events[0][1]["id"]
        auth = {"session": token, "id": id, "have": have}
        async with client(paced, auth=auth, transports=transports) as again:
            greeting = await again.greeting()
            assert (greeting["resumed"], greeting["id"], greeting["token"]) == (True, id, token)
            events += await again.until("text_generated") + await again.settle()
            assert len(ends_once(await again.generate("y", n_predicts=3))["text"].split()) == 3
        return events, await whole(paced)

    events, expected = run(scenario())
    assert ends_once(events)["text"] == chunks(events) == expected


def test_an_end_that_nobody_heard_is_told_again(paced: Home) -> None:
    async def scenario() -> tuple[list[Event], str]:
        async with client(paced, auth={"session": ""}) as first:
            token = (await first.greeting())["token"]
            events = await begun(first, 20)
        await asyncio.to_thread(until, lambda: metric(paced, "requests_running") == 0, "the end")
        auth = {"session": token, "id": events[0][1]["id"], "have": len(chunks(events))}
        async with client(paced, auth=auth) as again:
            events += await again.until("text_generated")
        async with client(paced, auth={"session": token}) as third:
            assert (await third.greeting())["id"] is None  # it named no generation
            assert await third.settle() == []
        return events, await whole(paced, 20)

    events, expected = run(scenario())
    assert ends_once(events)["text"] == chunks(events) == expected


def test_without_knowing_what_it_has_it_gets_all_of_it(paced: Home) -> None:
    async def scenario() -> tuple[list[Event], str]:
        async with client(paced, auth={"session": ""}) as first:
            token = (await first.greeting())["token"]
            await begun(first)
        async with client(paced, auth={"session": token}) as again:
            return await again.until("text_generated"), await whole(paced)

    events, expected = run(scenario())
    assert ends_once(events)["text"] == chunks(events) == expected


def test_the_selection_comes_back_also_to_who_did_not_say_so_before(paced: Home) -> None:
    async def scenario() -> None:
        async with client(paced) as first:
            token = (await first.greeting())["token"]
            await select(first, "echo", "echo")
            await first.emit("generate_text", {"prompt": "x", "n_predicts": 5})
        async with client(paced) as other:
            await select(other, "echo", "lorem-10ms")  # changes the default only
        async with client(paced, auth={"session": token}) as again:
            assert (await again.greeting())["model"] == "echo"
            assert ends_once(await again.generate("a b c"))["text"] == "a b c"
        async with client(paced) as last:
            await select(last, "echo", "lorem-10ms")

    run(scenario())


def test_who_never_said_that_it_would_come_back_is_not_generated_for(paced: Home) -> None:
    async def scenario() -> None:
        async with client(paced) as connected:
            await begun(connected, 5000)
        await asyncio.to_thread(until, lambda: metric(paced, "requests_running") == 0, "the cancel")

    run(scenario())


def test_who_stays_away_is_forgotten_with_what_ran_for_it(paced: Home) -> None:
    async def scenario() -> None:
        async with client(paced, auth={"session": ""}) as connected:
            token = (await connected.greeting())["token"]
            await begun(connected, 5000)
        assert metric(paced, "requests_running") == 1
        await asyncio.to_thread(until, lambda: metric(paced, "requests_running") == 0, "the end")
        async with client(paced, auth={"session": token}) as again:
            greeting = await again.greeting()
            assert greeting["id"] is None

    run(scenario())


def test_the_newer_of_two_connections_has_the_session(paced: Home) -> None:
    async def scenario() -> tuple[list[Event], str]:
        async with client(paced, auth={"session": ""}) as first:
            token = (await first.greeting())["token"]
            await begun(first)
            async with client(paced, auth={"session": token}) as second:
                events = await second.until("text_generated")
                await asyncio.to_thread(until, lambda: not first.sio.connected, "the first's end")
                assert await second.settle() == []
        return events, await whole(paced)

    events, expected = run(scenario())
    assert ends_once(events)["text"] == chunks(events) == expected


@pytest.mark.parametrize("token", ["nonsense", 5, None, [], {"a": 1}, "x" * 1_000_000])
def test_an_unknown_token_is_a_new_session(paced: Home, token: Any) -> None:
    async def scenario() -> None:
        async with client(paced, auth={"session": token, "id": [], "have": "x"}) as connected:
            greeting = await connected.greeting()
            assert greeting["resumed"] is False and len(greeting["token"]) == 32
            assert ends_once(await connected.generate("x", n_predicts=3))["tokens"] == 3

    run(scenario())


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Has a personality without anti-prompts, so that `echo` repeats the whole prompt."""
    folder = tmp_path / "zoo" / PLAIN
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: Plain\nanti_prompts: []\n")
    return tmp_path / "zoo"


async def talk(connected: Client, prompt: str) -> int:
    end = ends_once(await connected.generate(prompt, personality=0, n_predicts=8))
    return int(end["tokens"])


def test_a_discussion_outlives_the_gateway(tmp_path: Path, bindings: Path, zoo: Path) -> None:
    async def before(server: Home) -> tuple[str, str]:
        async with client(server, auth={"session": ""}) as connected:
            token = (await connected.greeting())["token"]
            await connected.ask("add_personality", {"path": PLAIN}, reply="personality_added")
            await select(connected, "echo", "lorem")
            await talk(connected, "the first thing that was said")
            await select(connected, "echo", "echo")  # repeats the whole prompt
            await asyncio.to_thread(until, lambda: "echo" in kept(server), "the selection")
            await select(connected, "echo", "lorem-10ms")
            events = await begun(connected, 5000)
            await asyncio.to_thread(until, lambda: events[0][1]["id"] in kept(server), "its id")
            server.processes[0].kill()
            server.processes[0].wait()
            return token, str(events[0][1]["id"])

    async def after(server: Home, token: str, lost: str) -> None:
        async with client(server, auth={"session": token}) as again:
            greeting = await again.greeting()
            assert greeting["resumed"] is True and greeting["model"] == "lorem-10ms"
            error = await again.reply("generation_error")
            assert error["id"] == lost and "started again" in error["error"]
            await select(again, "echo", "echo")
            end = ends_once(await again.generate("and now?", personality=0, n_predicts=500))
            assert "the first thing that was said" in end["text"]
        async with client(server, auth={"session": token}) as third:
            await third.greeting()
            assert await third.settle() == []  # the end was sent only once

    with home(
        tmp_path, bindings_path=str(bindings), personalities_path=str(zoo), **PACED
    ) as server:
        server.gateway()
        server.worker("echo")
        server.ready()
        token, lost = run(before(server))
        assert stat.S_IMODE(os.stat(tmp_path / "discussions.sqlite").st_mode) == 0o600
        assert token not in kept(server)
        server.gateway()
        server.ready()
        run(after(server, token, lost))


def kept(server: Home) -> str:
    """The whole content of the database file."""
    with sqlite3.connect(server.folder / "discussions.sqlite") as database:
        rows = [
            *database.execute("SELECT * FROM sessions"),
            *database.execute("SELECT * FROM exchanges"),
        ]
    database.close()
    return str(rows)


def test_a_damaged_file_is_kept_aside_and_nothing_is_kept_where_nobody_wants_it(
    tmp_path: Path, bindings: Path
) -> None:
    async def scenario(server: Home) -> None:
        async with client(server, auth={"session": ""}) as connected:
            assert ends_once(await connected.generate("x", n_predicts=3))["tokens"] == 3

    file = tmp_path / "discussions.sqlite"
    file.write_bytes(b"this is no database, and never was " * 100)
    with home(tmp_path, bindings_path=str(bindings), **PACED) as server:
        server.gateway()
        server.worker("echo")
        server.ready()
        run(scenario(server))
        assert "damaged" in server.log("gateway")
        assert file.with_name("discussions.sqlite.corrupt-1").exists()
        assert kept(server) != "[]"
    file.unlink()
    with home(tmp_path, bindings_path=str(bindings), keep_discussions="no", **PACED) as server:
        server.gateway()
        server.worker("echo")
        server.ready()
        run(scenario(server))
        assert not file.exists()


def test_a_disk_that_refuses_costs_no_conversation(
    tmp_path: Path, bindings: Path, zoo: Path
) -> None:
    (tmp_path / "discussions.sqlite").mkdir()  # fails even for root, who ignores permissions

    async def scenario(server: Home) -> None:
        async with client(server, auth={"session": ""}) as connected:
            await connected.ask("add_personality", {"path": PLAIN}, reply="personality_added")
            await talk(connected, "the first thing that was said")
            await select(connected, "echo", "echo")
            end = ends_once(await connected.generate("and now?", personality=0, n_predicts=500))
            assert "the first thing that was said" in end["text"]

    with home(
        tmp_path, bindings_path=str(bindings), personalities_path=str(zoo), **PACED
    ) as server:
        server.gateway()
        server.worker("echo")
        server.ready()
        run(scenario(server))
        assert server.log("gateway").count("not kept over a restart") == 1
