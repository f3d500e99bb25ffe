"""Embeddings and tokenizations at full speed do not hold up who generates, or the gateway."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import pytest

from tests.server.contract.test_generation import ends_once
from tests.server.security.test_access import ALICE, BOB, tokens
from tests.support.engineio_lines import SteppedClient, stepped_client
from tests.support.harness import PATIENCE, Client, Home, client, home, names, run, until

IN_FLIGHT = 30
TOO_MANY = "too many requests are waiting"
SOON = 5.0
"""Seconds. The aim is 1 s on a quiet machine; without shares it lasts as long as the embeddings."""
TEXT = "The tent stands by the lake, and nobody has asked the owl about the weather. " * 12


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")
    folder = tmp_path_factory.mktemp("pebble")
    tokens(folder, f"alice {ALICE}\nbob {BOB}\n")
    with home(folder) as server:
        server.headers = {"Authorization": f"Bearer {BOB}"}
        server.launch()
        yield server


@asynccontextmanager
async def several(server: Home, count: int, token: str) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(client(server, auth={"token": token}))
            for _ in range(count)
        ]


async def keep_asking(connected: Client, event: str, reply: str, answers: list[Any]) -> None:
    """So many requests are unanswered at any time."""
    for number in range(IN_FLIGHT):
        await connected.emit(event, {"prompt": f"{number} {TEXT}"})
    while True:
        answers.append(await connected.reply(reply))
        await connected.emit(event, {"prompt": f"{len(answers)} {TEXT}"})


async def first_tokens(connected: Client, count: int) -> list[float]:
    """Seconds from each request to its first chunk."""
    found = []
    for number in range(count):
        began = time.monotonic()
        await connected.emit(
            "generate_text",
            {"prompt": f"{number} tents", "n_predicts": 5, "parameters": {"ignore_eos": True}},
        )
        await connected.next("text_chunk")
        found.append(time.monotonic() - began)
        await connected.until("text_generated")
    return found


@pytest.mark.parametrize("clients", [1, 4])
def test_embeddings_at_full_speed_leave_others_their_first_token(
    pebble: Home, clients: int
) -> None:
    async def scenario() -> None:
        async with (
            client(pebble, auth={"token": BOB}) as one,
            several(pebble, clients, ALICE) as greedy,
        ):
            quiet = await first_tokens(one, 3)
            answers: list[Any] = []
            tasks = [
                asyncio.create_task(keep_asking(each, "embed", "embeded", answers))
                for each in greedy
            ]
            try:
                async with asyncio.timeout(PATIENCE):
                    while not any(each["success"] for each in answers):
                        await asyncio.sleep(0.01)
                before, began = len(answers), time.monotonic()
                busy = await first_tokens(one, 6)
                rate = (len(answers) - before) / (time.monotonic() - began)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        print(
            f"\nfirst token beside {clients * IN_FLIGHT} embeddings, of which {rate:.0f} are "
            f"answered a second: median {median(busy):.3f} s, at most {max(busy):.3f} s; "
            f"alone {median(quiet):.3f} s"
        )
        assert max(busy) < SOON
        assert all(each["embedding"] or TOO_MANY in each["error"] for each in answers)

    run(scenario())


# A model that is being loaded: all who want it wait.

LOADING = 3.0
OWNERS, EACH = 150, 30
SHARE = 64
"""Waiting tokenizations of one owner: four times `max_queue`."""
WATCH = """
import sys, threading, time, urllib.request
ended, longest = threading.Event(), 0.0
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
print(flush=True)
while not ended.wait(0.01):
    began = time.monotonic()
    urllib.request.urlopen(sys.argv[1] + "/health", timeout=20).read()
    longest = max(longest, time.monotonic() - began)
print(longest)
"""


@pytest.fixture
def unloaded(tmp_path: Path, bindings: Path) -> Iterator[Home]:
    """A server whose default model has no worker yet, and takes a while to load."""
    (tmp_path / "config.yaml").write_text(f"bindings: {{crowded: {{load_seconds: {LOADING}}}}}")
    with home(
        tmp_path, bindings_path=str(bindings), binding_name="crowded", model_name="late"
    ) as server:
        server.gateway()
        yield server


async def begin_loading(server: Home) -> None:
    server.worker("crowded")
    await asyncio.to_thread(until, lambda: " loads late" in server.log("gateway"), "the load")


@asynccontextmanager
async def watched(server: Home) -> AsyncIterator[list[float]]:
    """After the block: the longest time that /health took during it. Another process measures."""
    found: list[float] = []
    watcher = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WATCH, server.url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert watcher.stdout
    await watcher.stdout.readline()
    try:
        yield found
    finally:
        said, _ = await watcher.communicate(b"")
    found.append(float(said))


@asynccontextmanager
async def owners(server: Home, count: int) -> AsyncIterator[list[SteppedClient]]:
    """Clients with different addresses."""
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(1, count + 1):
            connector = aiohttp.TCPConnector(local_addr=(f"127.0.1.{number}", 0))
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            clients.append(SteppedClient(server, http))
        await asyncio.gather(*(each.open(websocket=True) for each in clients))
        yield clients


async def ask_each(clients: list[SteppedClient]) -> None:
    for each in clients:
        for number in range(EACH):
            await each.emit("tokenize", {"prompt": f"{number} tents"})


async def answered(one: SteppedClient, count: int) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        while len(one.events) < count:
            await one.read()
    assert set(names(one.events)) == {"tokenized"}
    return [answer for _, answer in one.events]


def test_4500_waiting_tokenizations_do_not_slow_the_gateway(unloaded: Home) -> None:
    """Neither when they come, nor when they leave, nor when they all are answered."""
    server = unloaded

    async def scenario() -> None:
        async with AsyncExitStack() as staying, AsyncExitStack() as leaving:
            first = await leaving.enter_async_context(owners(server, OWNERS))
            second = await staying.enter_async_context(owners(server, OWNERS))
            await begin_loading(server)
            async with watched(server) as longest:
                await ask_each(first)
                await leaving.aclose()
            async with watched(server) as longest_of_all:
                await ask_each(second)
                answers = await asyncio.gather(*(answered(each, EACH) for each in second))
        errors = [each.get("error", "") for some in answers for each in some]
        assert not any(TOO_MANY in each for each in errors)
        print(f"\n/health took at most {longest[0]:.3f} s, and {longest_of_all[0]:.3f} s")
        assert max(longest + longest_of_all) < 2.5

    run(scenario())


def test_what_waits_beyond_the_share_of_its_owner_is_told_so_in_a_sentence(
    unloaded: Home,
) -> None:
    """Tokenizations that wait count as quarters of generations, for their owner only."""
    server = unloaded

    async def scenario() -> None:
        async with AsyncExitStack() as stack, client(server) as mine:
            many = [
                await stack.enter_async_context(stepped_client(server, websocket=True))
                for _ in range(3)
            ]
            [other] = await stack.enter_async_context(owners(server, 1))
            await begin_loading(server)
            await ask_each(many)
            for each in many:  # each has its answer when those before it have been looked at
                await each.emit("list_active_personalities")
                while "active_personalities_list" not in names(each.events):
                    await each.read()
                each.events = [e for e in each.events if e[0] != "active_personalities_list"]
            assert sum(len(each.events) for each in many) == len(many) * EACH - SHARE
            assert names(await mine.generate("x", n_predicts=3)) == ["buzzy"]
            await other.emit("generate_text", {"prompt": "x", "n_predicts": 3})
            events = await other.until("text_generated", "generation_error", "buzzy")
            assert len(ends_once(events)["text"].split()) == 3
            answers = [each for one in many for each in await answered(one, EACH)]
            refused = [each for each in answers if TOO_MANY in each.get("error", "")]
            assert len(refused) == len(many) * EACH - SHARE
            assert names(await mine.generate("x", n_predicts=3))[-1] == "text_generated"

    run(scenario())
