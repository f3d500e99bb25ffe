"""Clients that flood the server take nothing from a client that is away, or was there before."""

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.sessions.pacing import CONNECTION_BURST, CONNECTION_RATE
from gateway.sessions.retention import MAX_AWAY, MAX_BYTES
from tests.server.contract.test_generation import ends_once, select
from tests.server.hostile_input.test_memory import resident
from tests.support.harness import PATIENCE, ROOT, Home, chunks, client, home, run, until

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo"}
PLAIN = "english/fun/plain"
FLOOD = 1020
"""Sessions: more than are kept, of clients or in the file."""
AT_ONCE = CONNECTION_BURST
"""Sessions of one connection, which are not paced yet."""
SLACK = 160 * 2**20
"""Memory that an attack may cost beside what is kept."""


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Has a personality without anti-prompts, so that `echo` repeats the whole prompt."""
    folder = tmp_path / "zoo" / PLAIN
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: Plain\nanti_prompts: []\n")
    return tmp_path / "zoo"


@pytest.fixture
def server(tmp_path: Path, zoo: Path) -> Iterator[Home]:
    with home(
        tmp_path, **ECHO, model_name="lorem-10ms", personalities_path=str(zoo)
    ) as opened:  # fmt: skip
        opened.gateway()
        opened.worker("echo")
        opened.ready()
        yield opened


def metric(server: Home, name: str) -> float:
    text = server.http("/metrics")[1]
    found = re.search(rf"^{re.escape('lollms_' + name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


class Websocket:
    """One connection that opens sessions and leaves them, as fast as it may."""

    def __init__(self, opened: aiohttp.ClientWebSocketResponse) -> None:
        self.opened = opened

    async def enter(self, auth: dict[str, Any] | None = None) -> None:
        await self.opened.send_str("40" + (json.dumps(auth) if auth else ""))
        await self.until('42["session"')

    async def leave(self) -> None:
        await self.opened.send_str("41")

    async def until(self, beginning: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not (packet := await self.opened.receive_str()).startswith(beginning):
                assert not packet.startswith("44"), packet


@asynccontextmanager
async def websocket(server: Home) -> AsyncIterator[Websocket]:
    url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=2**26) as opened:
        yield Websocket(opened)


async def flood(
    server: Home, sessions: int, act: Callable[[Websocket], Awaitable[None]], together: int = 16
) -> None:
    """Open so many sessions, `AT_ONCE` on each connection."""
    free = asyncio.Semaphore(together)

    async def attacker() -> None:
        async with free, websocket(server) as opened:
            for _ in range(AT_ONCE):
                await act(opened)

    async with asyncio.TaskGroup() as group:
        for _ in range(sessions // AT_ONCE):
            group.create_task(attacker())


def test_connects_do_not_end_the_running_answer_of_who_is_away(server: Home) -> None:
    async def connect(opened: Websocket) -> None:
        await opened.enter()
        await opened.leave()

    async def scenario() -> None:
        async with client(server, auth={"session": ""}) as victim:
            token = (await victim.greeting())["token"]
            await victim.emit("generate_text", {"prompt": "x", "n_predicts": 3000})
            id = (await victim.next("text_chunk"))[1]["id"]
        await flood(server, FLOOD, connect)
        async with client(server, auth={"session": token, "id": id, "have": 0}) as again:
            greeting = await again.greeting()
            assert (greeting["resumed"], greeting["id"]) == (True, id)
            while len(chunks(again.events)) < 1000:
                await again.next("text_chunk")
            await again.emit("cancel_generation")
            await again.next("text_generated")
        assert MAX_AWAY - 1 <= metric(server, "sessions_away") <= MAX_AWAY
        assert metric(server, 'sessions_evicted_total{reason="nothing"}') >= FLOOD - MAX_AWAY
        assert metric(server, 'sessions_evicted_total{reason="running"}') == 0

    run(scenario())
    log = server.log("gateway")
    assert log.count(" WARNING ") <= 1, log


def test_one_connection_opens_sessions_at_a_limited_rate(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as bystander, websocket(server) as opened:
            began = asyncio.get_running_loop().time()
            for _ in range(AT_ONCE + 4):
                await opened.opened.send_str("40")
                await opened.leave()
            for _ in range(AT_ONCE + 4):
                await opened.until("40")
            took = asyncio.get_running_loop().time() - began
            assert 3 / CONNECTION_RATE < took < PATIENCE
            assert await bystander.settle() == []

    run(scenario())


def test_a_crowd_waits_for_its_turn_and_who_would_wait_long_is_refused(server: Home) -> None:
    url = f"{server.url}/socket.io/?EIO=4&transport=websocket"

    async def connect(opened: aiohttp.ClientWebSocketResponse, times: int = 1) -> str:
        for _ in range(times - 1):
            await opened.send_str("40")
            await opened.send_str("41")
        await opened.send_str("40")
        answer = ""
        async with asyncio.timeout(PATIENCE):
            for _ in range(times):
                while not (answer := await opened.receive_str()).startswith(("40", "44")):
                    pass
        return answer

    async def scenario() -> list[str]:
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            client(server) as bystander,
            aiohttp.ClientSession(connector=connector) as http,
            AsyncExitStack() as stack,
        ):
            opened = [await stack.enter_async_context(http.ws_connect(url)) for _ in range(900)]
            await asyncio.gather(*(connect(each, AT_ONCE) for each in opened[:30]))
            answers = asyncio.gather(*(connect(each) for each in opened[30:]))
            assert await bystander.settle() == []
            return await answers

    answers = run(scenario())
    refused = [answer for answer in answers if answer.startswith("44")]
    assert 0 < len(refused) < 500 and all("try again" in each for each in refused)
    log = server.log("gateway")
    assert 1 <= log.count("too many connect") < 10 and log.count(" WARNING ") < 10


def test_who_goes_before_its_turn_to_connect_leaves_no_session(server: Home) -> None:
    def left() -> int:
        return server.log("gateway").count(" disconnected ")

    async def scenario() -> None:
        async with aiohttp.ClientSession() as http:
            url = f"{server.url}/socket.io/?EIO=4&transport=polling"
            async with http.get(url) as answer:
                url += "&sid=" + json.loads((await answer.text())[1:])["sid"]

            async def post(packets: str) -> None:
                async with http.post(url, data=packets) as answer:
                    await answer.read()

            for _ in range(AT_ONCE // 2 - 1):
                await post("40\x1e41\x1e40\x1e41")
            waiting = asyncio.create_task(
                post("40\x1e41\x1e40\x1e41\x1e40")
            )  # the last has to wait
            await asyncio.to_thread(until, lambda: left() == AT_ONCE, "the last disconnect")
            assert not waiting.done()
            await post("1")
            await waiting
        assert metric(server, "sessions") == 0
        async with client(server) as another:
            assert await another.settle() == []
        assert metric(server, "sessions") == 0

    run(scenario())
    assert "while it connected" not in server.log("gateway")
    assert "Traceback" not in server.log("gateway")


def test_a_thousand_sessions_do_not_push_a_connected_one_out_of_the_file(server: Home) -> None:
    async def activate(opened: Websocket) -> None:
        await opened.enter({"session": ""})
        await opened.opened.send_str('42["activate_personality",{"id":0}]')
        await opened.until('42["activate_personality"')
        await opened.leave()

    def stored() -> int:
        with closing(sqlite3.connect(server.folder / "discussions.sqlite")) as database:
            return int(database.execute("SELECT count(*) FROM sessions").fetchone()[0])

    async def attacked() -> str:
        async with client(server, auth={"session": ""}) as victim:
            token = str((await victim.greeting())["token"])
            await victim.ask("add_personality", {"path": PLAIN}, reply="personality_added")
            await select(victim, "echo", "echo")
            said = {"prompt": "the first thing that was said", "personality": 0}
            await victim.emit("generate_text", said)
            await victim.next("text_generated")
            await flood(server, FLOOD, activate)
            await asyncio.to_thread(until, lambda: stored() >= 1000, "the last write")
            server.processes[0].kill()
            server.processes[0].wait()
            return token

    async def after(token: str) -> None:
        async with client(server, auth={"session": token}) as again:
            assert (await again.greeting())["resumed"] is True
            end = ends_once(await again.generate("and now?", personality=0, n_predicts=500))
            assert "the first thing that was said" in end["text"]

    token = run(attacked())
    server.gateway()
    until(lambda: metric(server, 'workers_up{binding="echo"}') == 1, "the worker's return")
    run(after(token))


def test_answers_that_nobody_fetches_have_one_limit_in_bytes(server: Home) -> None:
    """One character of four bytes makes Python keep the whole text with four bytes each."""
    prompt = "\U0001f600" + ("x" * 999 + " ") * 950
    expected = 4 * len(prompt)
    answers = 2 * MAX_BYTES // expected
    question = f'42["generate_text",{{"prompt":"{prompt}","n_predicts":100000}}]'

    async def ask(opened: Websocket) -> None:
        await opened.enter({"session": ""})
        await opened.opened.send_str(question)
        await opened.until('42["text_generated"')
        await opened.leave()

    async def scenario() -> None:
        async with client(server) as selecting:
            await select(selecting, "echo", "echo")
        await asyncio.gather(*(ask_in_turn(answers // 4) for _ in range(4)))

    async def ask_in_turn(times: int) -> None:
        async with websocket(server) as opened:
            for _ in range(times):
                await ask(opened)

    pid = server.processes[0].pid
    before = resident(pid)
    run(scenario())
    until(lambda: metric(server, "sessions") == 0, "the last disconnect")
    kept = metric(server, "away_bytes")
    more = resident(pid) - before
    print(f"{answers} answers: {kept / 2**20:.0f} MiB kept, {more / 2**20:.0f} MiB more in memory")
    assert MAX_BYTES - expected - 2**20 < kept <= MAX_BYTES
    assert metric(server, 'sessions_evicted_total{reason="ended"}') > 0
    assert more <= MAX_BYTES + SLACK
