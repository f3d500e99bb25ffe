"""Slow and polling clients: complete texts, bounded memory, no effect on other clients."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from tests.server.contract.test_generation import ends_once
from tests.support.engineio_lines import SteppedClient, stepped_client
from tests.support.harness import Home, chunks, client, home, names, run, until

FLOOD = 3000
MANY = 200_000


def wanted(tokens: int, seed: int = 1) -> dict[str, Any]:
    return {"n_predicts": tokens, "parameters": {"seed": seed}}


def prompt(tokens: int, seed: int = 1) -> dict[str, Any]:
    return {"prompt": "x", **wanted(tokens, seed)}


def expected(tokens: int, seed: int = 1) -> str:
    """The text that the model `lorem` generates."""
    draw, words = Random(seed).random, ("lorem ", "ipsum ", "dolor ", "sit ", "amet ")
    return "".join(words[int(draw() * len(words))] for _ in range(tokens))


def memory(pid: int) -> int:
    """Resident bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024


def metric(server: Home, name: str) -> float:
    """The sum over all labels."""
    metrics = server.http("/metrics")[1]
    return sum(map(float, re.findall(rf"^lollms_{name}(?:{{.*}})? (\S+)$", metrics, re.MULTILINE)))


@pytest.fixture(scope="module", params=["yes", "no"])
def either(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bindings: Path
) -> Iterator[Home]:
    """A server with direct writes, and one that writes through python-socketio."""
    with home(
        tmp_path_factory.mktemp("home"), bindings_path=str(bindings), binding_name="echo",
        model_name="lorem", direct_writes=request.param,
    ) as server:  # fmt: skip
        server.gateway()
        server.worker("echo")
        server.ready()
        yield server


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
def test_a_flood_arrives_whole(server: Home, transports: list[str]) -> None:
    async def scenario() -> None:
        async with client(server, transports=transports) as connected:
            events = await connected.generate("x", **wanted(FLOOD))
            assert ends_once(events)["text"] == chunks(events) == expected(FLOOD)

    run(scenario())


def test_a_poll_brings_no_more_packets_than_clients_take(either: Home) -> None:
    async def scenario() -> None:
        async with stepped_client(either) as raw:
            await raw.emit("generate_text", prompt(FLOOD))
            events = await raw.until("text_generated")
            assert ends_once(events)["text"] == chunks(events) == expected(FLOOD)
            assert raw.largest <= 16
            raw.events.clear()
            for _ in range(50):
                await raw.emit("list_active_personalities")
            while len(raw.events) < 50:
                await raw.read()
            assert raw.largest <= 16

    run(scenario())


@pytest.mark.parametrize("polls", range(0, 12, 2))
def test_an_upgrade_in_mid_stream_loses_and_swaps_nothing(either: Home, polls: int) -> None:
    async def scenario() -> None:
        async with stepped_client(either) as raw:
            await raw.emit("generate_text", prompt(FLOOD))
            for _ in range(polls):
                await raw.read()
            await raw.upgrade()
            events = await raw.until("text_generated")
            assert ends_once(events)["text"] == chunks(events) == expected(FLOOD)
            await raw.emit("list_active_personalities")
            await raw.until("active_personalities_list")

    run(scenario())


def test_one_chunk_is_one_event_for_a_client_that_reads(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            answer = await connected.ask(
                "select_model", {"model_name": "lorem-10ms"}, reply="select_model"
            )
            assert answer["success"], answer
            events = await connected.generate("x", **wanted(50))
            assert names(events).count("text_chunk") == 50
            await connected.ask("select_model", {"model_name": "lorem"}, reply="select_model")

    run(scenario())


@pytest.fixture(params=["yes", "no"])
def alone(request: pytest.FixtureRequest, tmp_path: Path, bindings: Path) -> Iterator[Home]:
    """A server that soon drops a client that does not read; both ways of writing."""
    with home(
        tmp_path, bindings_path=str(bindings), binding_name="echo", model_name="lorem",
        client_limit="1.5", max_queue="300", direct_writes=request.param,
    ) as server:  # fmt: skip
        server.gateway()
        server.worker("echo")
        server.ready()
        yield server


def test_who_stops_reading_costs_little_and_gets_all_when_reading_again(either: Home) -> None:
    server = either
    many = MANY if server.settings["direct_writes"] == "yes" else MANY // 2  # it is slower
    pid = server.processes[0].pid

    async def scenario() -> None:
        async with stepped_client(server, websocket=True) as raw, client(server) as other:
            for _ in range(3):  # afterwards lazily created objects exist
                ends_once(await other.generate("x", **wanted(FLOOD)))
                metric(server, "generated_tokens_total")
            before = memory(pid)
            await raw.emit("generate_text", prompt(many))
            sent = -1.0
            while sent != (sent := metric(server, "generated_tokens_total")):
                ends_once(await other.generate("x", **wanted(300)))  # other clients are served
                sent += 300
            assert memory(pid) - before < 5_000_000
            assert sent < many
            events = await raw.until("text_generated")
            assert ends_once(events)["text"] == chunks(events) == expected(many)

    run(scenario())


def test_who_does_not_read_for_too_long_is_dropped_and_its_slot_is_free(alone: Home) -> None:
    async def scenario() -> None:
        async with stepped_client(alone, websocket=True) as raw, stepped_client(alone) as polling:
            for stalled in (raw, polling):
                await stalled.emit("generate_text", prompt(MANY))
            await asyncio.to_thread(
                until, lambda: metric(alone, "clients_dropped_total") == 2, "the drop"
            )
            await asyncio.to_thread(
                until, lambda: metric(alone, "requests_running") == 0, "the end of its generation"
            )
            with pytest.raises((TypeError, AssertionError, aiohttp.ClientError)):
                while True:
                    await raw.read()
            assert metric(alone, "sessions") == 0
            async with client(alone) as other:
                ends_once(await other.generate("x", **wanted(300)))

    run(scenario())


def test_who_asks_without_reading_is_dropped(alone: Home) -> None:
    async def scenario() -> None:
        pid = alone.processes[0].pid
        async with stepped_client(alone, websocket=True) as raw, client(alone) as other:
            before = memory(pid)
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                for _ in range(1_000_000):  # socket buffers take some megabytes
                    await raw.emit("list_available_models")
            assert memory(pid) - before < 60_000_000
            ends_once(await other.generate("x", **wanted(300)))

    run(scenario())
    assert metric(alone, "clients_dropped_total") == 1


async def _generate(raw: SteppedClient, seed: int) -> None:
    raw.events.clear()
    await raw.emit("generate_text", prompt(5, seed))
    await raw.emit("list_active_personalities")
    while not {"text_generated", "active_personalities_list"} <= set(names(raw.events)):
        await raw.read()
    assert chunks(raw.events) == expected(5, seed)


def test_no_wake_up_is_lost_among_256_clients(alone: Home) -> None:
    """ZeroMQ's descriptor is edge-triggered: after each send and receive it must be read again."""

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            raws = [
                await stack.enter_async_context(stepped_client(alone, websocket=True))
                for _ in range(256)
            ]
            for turn in range(20):
                async with asyncio.timeout(10):
                    await asyncio.gather(*(_generate(raw, turn + n) for n, raw in enumerate(raws)))

    run(scenario())
