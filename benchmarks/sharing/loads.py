"""Loads beside which a newcomer asks; each is present while its context is open."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import aiohttp

from benchmarks.sharing.servers import Client, Kind, Model, Refused, RunningServer

VERY_LONG = 1_000_000
"""Tokens; more than any context has room for."""
SHORT = 32
RETRY = 0.05
"""Seconds until a client that was refused asks again."""
CONNECTIONS, IN_FLIGHT = 90, 30
"""Of a greedy holder; requests under way of the client that embeds."""
POLL_PERIOD = 3.0
STOPPED = 2.0
"""Seconds since the last client stopped reading."""
Started = Callable[[], None]


@dataclass(slots=True)
class Tally:
    """What clients have got so far."""

    finished: int = 0
    refused: int = 0
    embedded: int = 0

    def count(self, kinds: list[Kind]) -> None:
        self.finished += kinds.count("end")
        self.refused += kinds.count("refused")


async def started(client: Client, tokens: int, tally: Tally) -> bool:
    """Ask, again and again if refused, until an answer has begun; True if it has ended, too."""
    while True:
        await client.ask(tokens)
        kinds: list[Kind] = []
        while not kinds:
            kinds = await client.read()
        tally.count(kinds)
        if "refused" not in kinds:
            return "end" in kinds
        await asyncio.sleep(RETRY)


async def answers_in_turn(client: Client, tokens: int, tally: Tally, begun: Started) -> None:
    """Ask and read to the end, again at once, without end."""
    while True:
        ended = await started(client, tokens, tally)
        begun()
        while not ended:
            kinds = await client.read()
            tally.count(kinds)
            ended = "end" in kinds


@asynccontextmanager
async def crowd(
    count: int, behave: Callable[[Started], Awaitable[None]], settle: float
) -> AsyncIterator[None]:
    """So many clients that behave without end. All have started at the beginning of the block,
    or `settle` seconds have passed."""
    begun = [asyncio.Event() for _ in range(count)]
    troubles: Counter[str] = Counter()

    async def behave_again(event: asyncio.Event) -> None:
        while True:
            try:
                await behave(event.set)
            except (aiohttp.ClientError, Refused) as error:
                troubles[str(error)] += 1
                await asyncio.sleep(RETRY)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(behave_again(event)) for event in begun]
        try:
            async with asyncio.timeout(settle):
                await asyncio.gather(*(event.wait() for event in begun))
        except TimeoutError:
            pass
        yield
        for task in tasks:
            task.cancel()
    for trouble, times in troubles.items():
        print(f"a client, {times} times: {trouble}", file=sys.stderr)


@asynccontextmanager
async def not_reading(server: RunningServer, count: int, settle: float) -> AsyncIterator[None]:
    """Clients that asked for very long answers and stopped reading, some seconds ago."""

    async def behave(begun: Started) -> None:
        async with server.client("first", reading="when told") as client:
            await started(client, VERY_LONG, Tally())
            begun()
            await asyncio.Event().wait()

    async with crowd(count, behave, settle):
        await asyncio.sleep(STOPPED)
        yield


def reading(server: RunningServer, settle: float) -> AbstractAsyncContextManager[None]:
    """A client that asks for very long answers and reads them."""

    async def behave(begun: Started) -> None:
        async with server.client("second") as client:
            await answers_in_turn(client, VERY_LONG, Tally(), begun)

    return crowd(1, behave, settle)


@asynccontextmanager
async def greedy(server: RunningServer, model: Model, settle: float) -> AsyncIterator[Tally]:
    """Connections of one holder that ask again at once."""
    tally = Tally()

    async def behave(begun: Started) -> None:
        async with server.client(model, holder="greedy") as client:
            await answers_in_turn(client, SHORT, tally, begun)

    async with crowd(CONNECTIONS, behave, settle):
        yield tally


@asynccontextmanager
async def embedding(server: RunningServer, settle: float) -> AsyncIterator[Tally]:
    """One client that embeds at full speed."""
    tally = Tally()

    async def behave(begun: Started) -> None:
        def embedded() -> None:
            tally.embedded += 1
            begun()

        await server.embed(IN_FLIGHT, embedded)

    async with crowd(1, behave, settle):
        yield tally


def polling_slowly(server: RunningServer, settle: float) -> AbstractAsyncContextManager[None]:
    """As many clients as there are slots, with very long answers, that read every few seconds."""

    async def behave(begun: Started) -> None:
        async with server.client("first", reading="by polling") as client:
            await started(client, VERY_LONG, Tally())
            begun()
            while True:
                await asyncio.sleep(POLL_PERIOD)
                if "end" in await client.read():
                    await started(client, VERY_LONG, Tally())

    return crowd(server.slots, behave, settle)
