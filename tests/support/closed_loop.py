"""Clients that ask again as soon as they have their answer, and a tally of what they got."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.engineio_lines import SteppedClient
from tests.support.harness import PATIENCE, Home, chunks

RETRY = 0.1
"""Seconds until a client that was told `buzzy` asks again."""
ENDS = "text_generated", "generation_error", "buzzy"


@dataclass(slots=True)
class Tally:
    """Of all clients together."""

    answers: int = 0
    words: int = 0
    """Of whole answers, and of the beginnings of others."""
    refused: int = 0
    """How often one of them was told `buzzy`."""
    first: list[float] = field(default_factory=list)
    """Seconds from each request to its first chunk."""


@asynccontextmanager
async def closed_loop(
    server: Home, count: int, request: dict[str, Any], *,
    binding: str = "", model: str = "", token: str = "", address: str = "127.0.0.1",
) -> AsyncIterator[Tally]:  # fmt: skip
    """So many clients with this token, from this address, until the block ends. An answer that
    ends in an error fails the test."""
    tally = Tally()
    connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        clients = [SteppedClient(server, http) for _ in range(count)]
        await asyncio.gather(*(each.open(websocket=True) for each in clients))
        for event, name in (("select_binding", binding), ("select_model", model)):
            if name:
                await asyncio.gather(*(_select(each, event, name) for each in clients))
        tasks = [
            asyncio.create_task(_ask_again_and_again(each, request, tally)) for each in clients
        ]
        try:
            yield tally
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _select(client: SteppedClient, event: str, name: str) -> None:
    await client.emit(event, {f"{event.removeprefix('select_')}_name": name})
    answer = (await client.until(event))[-1][1]
    assert answer["success"], answer


async def _ask_again_and_again(
    client: SteppedClient, request: dict[str, Any], tally: Tally
) -> None:
    while True:
        client.events.clear()
        await client.emit("generate_text", request)
        began = time.monotonic()
        seen, counted = 0, False
        async with asyncio.timeout(PATIENCE):
            while not (client.events and client.events[-1][0] in ENDS):
                await client.read()
                new = chunks(client.events[seen:])
                seen = len(client.events)
                tally.words += new.count(" ")
                if new and not counted:
                    tally.first.append(time.monotonic() - began)
                    counted = True
        end, answer = client.events[-1]
        assert end != "generation_error", answer
        tally.answers += end == "text_generated"
        if end == "buzzy":
            tally.refused += 1
            await asyncio.sleep(RETRY)


async def until_begun(tally: Tally) -> None:
    """Return when one of the clients has got a word."""
    async with asyncio.timeout(PATIENCE):
        while not tally.words:
            await asyncio.sleep(0.01)
