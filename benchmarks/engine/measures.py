"""Measure a generating server: throughput, shared prefix, stall and cancel in a prefill.

Every measure sends requests as a client would. Results are seconds and tokens per second.
"""

import asyncio
import random
import string
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp

from benchmarks.engine.peer_servers import Server

PROMPT, ANSWER = 64, 128
"""Tokens of a request in the throughput measures."""
PREFIX, ADMITTED = 1500, 512
HEAD_START = 0.25
"""Seconds that a prefill runs before it is cancelled."""


class Prompts:
    """Random texts of an exact number of tokens."""

    def __init__(self, model: Path) -> None:
        self._vocabulary: Any = llama_cpp.Llama(str(model), vocab_only=True, verbose=False)
        self._draw = random.Random(time.time_ns())

    def count(self, text: str) -> int:
        return len(self._vocabulary.tokenize(text.encode(), add_bos=True, special=True))

    def make(self, tokens: int) -> str:
        draw = self._draw
        text = "".join(
            draw.choice(string.digits) + "".join(draw.choices(string.ascii_letters, k=3))
            for _ in range(tokens)
        )
        while self.count(text) > tokens:
            text = text[: -max(1, (self.count(text) - tokens) // 2)]
        assert self.count(text) == tokens
        return text


@dataclass(slots=True)
class TokenTimes:
    """When the tokens of one generation arrived."""

    sent: float = field(default_factory=time.perf_counter)
    arrived: list[tuple[float, int]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def first(self) -> float:
        return self.arrived[0][0]

    @property
    def last(self) -> float:
        return self.arrived[-1][0]

    @property
    def tokens(self) -> int:
        return sum(count for _, count in self.arrived)

    def between(self, start: float, end: float) -> int:
        return sum(count for at, count in self.arrived if start < at <= end)

    def longest_gap(self, start: float, end: float) -> float:
        times = [at for at, _ in self.arrived if start <= at <= end]
        return max((b - a for a, b in zip([start, *times], [*times, end], strict=True)), default=0)


async def record(
    server: Server, prompt: str, count: int, track: TokenTimes | None = None
) -> TokenTimes:
    track = track or TokenTimes()
    async for tokens in server.generate(prompt, count):
        if tokens:
            track.arrived.append((time.perf_counter(), tokens))
            track.started.set()
    return track


async def until_started(task: "asyncio.Task[TokenTimes]", track: TokenTimes) -> None:
    """Wait for the first token; raises what the task raised before it."""
    waiting = asyncio.create_task(track.started.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task


async def first_token(server: Server, prompt: str) -> float:
    track = await record(server, prompt, 1)
    return track.first - track.sent


class Rates(NamedTuple):
    """Tokens per second: all, and those while all requests decode."""

    all: float
    decoding: float
    per_cpu: float
    """All tokens, per second of processor time of the busiest thread, the one that computes. This
    excludes processor time of other processes, but not their effect on the caches."""
    busy: float
    """The share of the wall time that this thread ran."""


async def throughput(server: Server, prompts: Prompts, requests: int) -> Rates:
    texts = [prompts.make(PROMPT) for _ in range(requests)]
    before, start = server.cpu_seconds(), time.perf_counter()
    tracks = await asyncio.gather(*(record(server, text, ANSWER) for text in texts))
    wall = time.perf_counter() - start
    cpu = max(t - before.get(name, 0) for name, t in server.cpu_seconds().items())
    total = sum(track.tokens for track in tracks)
    assert total == requests * ANSWER, f"{server.name} gave {total} tokens"
    begin, end = max(t.first for t in tracks), min(t.last for t in tracks)
    together = sum(track.between(begin, end) for track in tracks)
    return Rates(total / wall, together / (end - begin), total / cpu, cpu / wall)


async def shared_prefix(server: Server, prompts: Prompts) -> tuple[float, float]:
    """Time to first token after a new prompt, and after one that another request is using."""
    cold = await first_token(server, prompts.make(PREFIX))
    prefix = prompts.make(PREFIX)
    track = TokenTimes()
    holder = asyncio.create_task(record(server, prefix + "9 holder", 400, track))
    await until_started(holder, track)
    warm = await first_token(server, prefix + "8 other")
    await cancel(holder)
    return cold, warm


async def stall(server: Server, prompts: Prompts) -> float:
    """The longest gap in four streams while a prompt of 512 tokens is prefilled."""
    tracks = [TokenTimes() for _ in range(4)]
    running = [
        asyncio.create_task(record(server, prompts.make(PROMPT), 400, track)) for track in tracks
    ]
    for task, track in zip(running, tracks, strict=True):
        await until_started(task, track)
    await asyncio.sleep(0.2)
    start = time.perf_counter()
    await first_token(server, prompts.make(ADMITTED))
    end = time.perf_counter()
    await asyncio.sleep(0.2)
    for task in running:
        await cancel(task)
    return max(track.longest_gap(start, end + 0.1) for track in tracks)


async def cancel_in_prefill(server: Server, prompts: Prompts) -> float:
    """Time from the cancel of a long prefill to the next request's first token."""
    prefill = asyncio.create_task(record(server, prompts.make(PREFIX), 8))
    await asyncio.sleep(HEAD_START)
    following = prompts.make(8)
    start = time.perf_counter()
    await cancel(prefill)
    await record(server, following, 1)
    return time.perf_counter() - start


async def cancel(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
