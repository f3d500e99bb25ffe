"""The cases: a load, and what the newcomer beside it gets."""

import asyncio
import math
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import aiohttp

from benchmarks.sharing import loads
from benchmarks.sharing.loads import RETRY, SHORT, Started, Tally, answers_in_turn, crowd, started
from benchmarks.sharing.servers import Model, Need, Refused, RunningServer, Server

WINDOW = 10.0
"""Seconds in which answers are counted."""
FIRST_CHUNK, REFUSED, RATE = "first chunk", "refused", "embeddings/s"
SHARE = "share of finished answers, %"


class Limits(NamedTuple):
    """In seconds."""

    patience: float
    """For the newcomer's first chunk."""
    settle: float
    """For all clients of the load to start."""


Figures = dict[str, float]
"""By row; infinite is a first chunk that did not come in time."""
Measure = Callable[[RunningServer, Limits], Awaitable[Figures]]
Load = Callable[[RunningServer, float], AbstractAsyncContextManager[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    measure: Measure
    rows: tuple[str, ...] = (FIRST_CHUNK,)
    newcomers: Model = "first"
    needs: Need | None = None
    holders: bool = False
    """Load and newcomer have tokens of different holders."""

    async def on(self, server: Server, limits: Limits) -> Figures:
        async with server.running(newcomers=self.newcomers, holders=self.holders) as running:
            return await self.measure(running, limits)


async def first_chunk(server: RunningServer, model: Model, patience: float) -> float:
    """Seconds from a newcomer's connect to its first chunk; asks again if refused."""
    begin = time.monotonic()
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    async with server.client(model) as client:
                        await started(client, SHORT, Tally())
                        return time.monotonic() - begin
                except (aiohttp.ClientError, Refused) as error:
                    print(f"the newcomer: {error}", file=sys.stderr)
                    await asyncio.sleep(RETRY)
    except TimeoutError:
        return math.inf


async def _beside(load: Load, model: Model, server: RunningServer, limits: Limits) -> Figures:
    async with load(server, limits.settle):
        return {FIRST_CHUNK: await first_chunk(server, model, limits.patience)}


async def _against_greedy(server: RunningServer, limits: Limits) -> Figures:
    """The newcomer asks again at once, too."""
    mine, first = Tally(), math.inf
    async with loads.greedy(server, "second", limits.settle) as others:
        before, begin = others.finished, time.monotonic()

        def begun() -> None:
            nonlocal first
            first = min(first, time.monotonic() - begin)

        async def behave(_: Started) -> None:
            async with server.client("second") as client:
                await answers_in_turn(client, SHORT, mine, begun)

        async with crowd(1, behave, WINDOW):  # "started" is never said: all of the window passes
            pass
        finished = mine.finished + others.finished - before
    share = 100 * mine.finished / finished if finished else 0.0
    return {FIRST_CHUNK: first, REFUSED: mine.refused, SHARE: share}


async def _beside_embedding(server: RunningServer, limits: Limits) -> Figures:
    async with loads.embedding(server, limits.settle) as others:
        before, begin = others.embedded, time.monotonic()
        first = await first_chunk(server, "first", limits.patience)
        await asyncio.sleep(max(0.0, begin + 2 - time.monotonic()))
        rate = (others.embedded - before) / (time.monotonic() - begin)
    return {FIRST_CHUNK: first, RATE: rate}


def _clients(count: int) -> str:
    return "1 client that does not read" if count == 1 else f"{count} clients that do not read"


def _not_reading(count: int) -> Load:
    return lambda server, settle: loads.not_reading(server, count, settle)


CASES = (
    Case(name="nobody else", measure=partial(_beside, lambda *_: nullcontext(), "first")),
    *(
        Case(name=_clients(count), measure=partial(_beside, _not_reading(count), "first"))
        for count in (1, 8, 64)
    ),
    *(
        Case(
            name=f"{_clients(count)}, another model",
            measure=partial(_beside, _not_reading(count), "second"),
            newcomers="second", needs="models",
        )
        for count in (1, 8, 64)
    ),
    Case(
        name="a very long answer, another model",
        measure=partial(_beside, loads.reading, "first"), needs="models",
    ),
    Case(
        name=f"{loads.CONNECTIONS} greedy connections of one holder",
        measure=_against_greedy, holders=True, newcomers="second",
        rows=(FIRST_CHUNK, REFUSED, SHARE),
    ),
    Case(
        name=f"embed, {loads.IN_FLIGHT} in flight", measure=_beside_embedding,
        rows=(FIRST_CHUNK, RATE), needs="embeddings",
    ),
    Case(
        name="a slow poller for each slot", measure=partial(_beside, loads.polling_slowly, "first")
    ),
)  # fmt: skip
