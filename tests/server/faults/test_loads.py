"""Extreme load: every request ends correctly, and other clients are hardly slowed down."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.server.contract.test_backpressure import memory, metric
from tests.server.contract.test_generation import select
from tests.support.engineio_lines import (
    EngineIoConnection,
    Websocket,
    engineio_connection,
    stepped_client,
)
from tests.support.harness import Home, chunks, client, home, run, until
from tests.support.invariants import asked, checked, lorem, status, stopped, watched

IDLE = 1000
IDLE_MEMORY = 120 * 2**20
"""Bytes that all idle clients together may cost."""
TOGETHER = 200
EVENTS = 100_000
FEWER = 20_000
"""Events for a server that limits their rate; more than it allows in a second."""
UNREAD = 1000
"""Events without an answer at any moment, at most."""
CANCELS = 1000
BUSY_GAP = 5.0
"""Seconds between two chunks of a bystander, beside tests that use a core themselves."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    """A server with a long queue, large frames and no limit on the rate of events."""
    with (
        home(
            tmp_path_factory.mktemp("crowded"), bindings_path=str(bindings), binding_name="echo",
            model_name="lorem-10ms", max_queue="1000", max_frame=str(2**24), event_rate="0",
            max_prompt=str(2**24),
        ) as opened,
        stopped(opened),
    ):  # fmt: skip
        yield opened


@asynccontextmanager
async def crowd(server: Home, many: int) -> AsyncIterator[list[aiohttp.ClientWebSocketResponse]]:
    """Clients that connect and then send nothing."""
    url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, AsyncExitStack() as stack:
        opened = []
        for _ in range(many):
            websocket = await stack.enter_async_context(http.ws_connect(url))
            await websocket.send_str("40")
            while not (await websocket.receive_str()).startswith("40"):
                pass
            opened.append(websocket)
        yield opened


@pytest.mark.timeout(120)
def test_a_thousand_idle_clients_cost_little_and_disturb_nobody(server: Home) -> None:
    async def scenario() -> None:
        pid = server.gateway_pid()
        before = memory(pid)
        async with watched(server, gap=BUSY_GAP), crowd(server, IDLE) as idle:
            assert (await status(server))["clients"] >= IDLE
            cost = memory(pid) - before
            print(f"{IDLE} clients: {cost / 2**20:.0f} MiB")
            assert cost < IDLE_MEMORY
            await idle[-1].send_str('42["generate_text",{"prompt":"x","n_predicts":1}]')
            async with asyncio.timeout(20):
                while "text_generated" not in await idle[-1].receive_str():
                    pass

    run(scenario(), 110)
    until(lambda: metric(server, "sessions") == 0, "the end of their sessions")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("queue_is_long", [True, False])
def test_two_hundred_generations_at_once(server: Home, crowded: Home, queue_is_long: bool) -> None:
    """With a long queue all are served; with a short one the rest is refused at once."""
    chosen = crowded if queue_is_long else server

    async def scenario() -> list[str]:
        ends = []
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(chosen)) for _ in range(TOGETHER)]
            for each in clients:
                await select(each, "echo", "lorem-10ms")
            async with watched(chosen, gap=BUSY_GAP):
                answers = await asyncio.gather(
                    *(
                        asked(each, "x", n_predicts=20, parameters={"seed": seed})
                        for seed, each in enumerate(clients)
                    )
                )
                for seed, (end, events) in enumerate(answers):
                    ends.append(end)
                    if end == "text_generated":
                        assert chunks(events) == lorem(20, seed)
        return ends

    ends = run(scenario(), 110)
    served, refused = ends.count("text_generated"), ends.count("buzzy")
    print(f"{served} served, {refused} told to come back")
    assert served + refused == TOGETHER
    assert refused == 0 if queue_is_long else (served >= 64 and refused > 0)


def test_a_prompt_of_ten_megabytes_is_told_that_it_is_too_long(server: Home) -> None:
    async def scenario() -> None:
        async with watched(server, gap=BUSY_GAP), engineio_connection(server) as connected:
            packet = '42["generate_text",{"prompt":"' + "x" * 10_000_000 + '"}]'
            with suppress(ConnectionError, aiohttp.ClientError):  # closed before all is sent
                await connected.send(packet)
            answer = await connected.until(lambda packet: '"error"' in packet)
            assert "4,000,000 bytes" in answer, connected.packets

    run(scenario())


def test_a_prompt_of_ten_megabytes_is_served_where_it_may_be(crowded: Home) -> None:
    async def scenario() -> None:
        async with client(crowded) as connected:
            await select(connected, "echo", "lorem-10ms")
            async with watched(crowded, gap=BUSY_GAP):
                prompt = "x" * 10_000_000
                end, events = await asked(connected, prompt, n_predicts=10, parameters={"seed": 3})
                assert end == "text_generated" and chunks(events) == lorem(10, 3)

    run(scenario())


async def flood(connected: EngineIoConnection, packet: str, many: int) -> None:
    """Send `packet` many times and read the answers: a client that does not read is dropped."""
    start = len(connected.packets)
    for sent in range(1, many + 1):
        await connected.send(packet)
        while sent - (len(connected.packets) - start) > UNREAD:
            await asyncio.sleep(0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("limited", "many"), [(True, FEWER), (False, EVENTS)])
def test_a_hundred_thousand_tiny_events_are_answered_each(
    server: Home, crowded: Home, limited: bool, many: int
) -> None:
    """With a limit on the rate, some answers are errors; but every event gets an answer."""
    chosen = server if limited else crowded

    async def scenario() -> None:
        async with watched(chosen, gap=BUSY_GAP), engineio_connection(chosen) as connected:
            start = len(connected.packets)
            await flood(connected, '42["list_active_personalities"]', many)
            await connected.received_since(start)
            answers = [p for p in connected.packets[start:] if "personalities_list" in p]
            done = sum('"success":true' in answer for answer in answers)
            print(f"{done} of {len(answers)} were processed")
            assert len(answers) == many, connected.closed
            assert done >= 1000 if limited else done == many
            assert all('"success":true' in a or '"error":"' in a for a in answers)

    run(scenario(), 110)


def test_a_thousand_cancels_a_second_end_one_generation_each_and_nobody_elses(
    server: Home,
) -> None:
    async def scenario() -> tuple[float, list[Any]]:
        async with (
            watched(server, gap=BUSY_GAP),
            engineio_connection(server, Websocket) as connected,
        ):
            began = asyncio.get_running_loop().time()
            start = len(connected.packets)
            for _ in range(CANCELS):
                await connected.send('42["generate_text",{"prompt":"x","n_predicts":1000}]')
                await connected.send('42["cancel_generation"]')
            received = await connected.received_since(start)
            return asyncio.get_running_loop().time() - began, received

    took, received = run(scenario())
    ended = [packet for packet in received if packet.startswith('42["text_generated"')]
    refused = [
        packet for packet in received if packet.startswith(('42["buzzy"', '42["generation_e'))
    ]
    canceled = [packet for packet in received if packet.startswith('42["generation_canceled"')]
    print(f"{CANCELS} cancels in {took:.2f} s: {len(ended)} ended, {len(refused)} refused")
    assert len(canceled) == CANCELS and len(ended) + len(refused) == CANCELS

    async def nothing_runs() -> None:
        async with stepped_client(server, websocket=True) as raw:
            await raw.emit("generate_text", {"prompt": "x", "n_predicts": 2})
            assert checked(await raw.until("text_generated"))["tokens"] == 2

    run(nothing_runs())
    until(lambda: metric(server, "requests_running") == 0, "the end of all that ran")
