"""What is measured at a server that generates, and how?

Every measure asks as a client would and takes its own time; `Round` is what
one round gives for one server. Seconds and tokens a second.
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
    """Texts of exactly so many tokens, none like another."""

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
class Track:
    """When the tokens of one generation came."""

    asked: float = field(default_factory=time.perf_counter)
    came: list[tuple[float, int]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def first(self) -> float:
        return self.came[0][0]

    @property
    def last(self) -> float:
        return self.came[-1][0]

    @property
    def tokens(self) -> int:
        return sum(count for _, count in self.came)

    def between(self, start: float, end: float) -> int:
        return sum(count for at, count in self.came if start < at <= end)

    def longest_silence(self, start: float, end: float) -> float:
        times = [at for at, _ in self.came if start <= at <= end]
        return max((b - a for a, b in zip([start, *times], [*times, end], strict=True)), default=0)


async def follow(server: Server, prompt: str, count: int, track: Track | None = None) -> Track:
    track = track or Track()
    async for tokens in server.generate(prompt, count):
        if tokens:
            track.came.append((time.perf_counter(), tokens))
            track.begun.set()
    return track


async def begun(task: "asyncio.Task[Track]", track: Track) -> None:
    """Until the first token; raises what the task raised before."""
    waiting = asyncio.create_task(track.begun.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task


async def first_token(server: Server, prompt: str) -> float:
    track = await follow(server, prompt, 1)
    return track.first - track.asked


class Rates(NamedTuple):
    """Tokens a second: all of them, and those while everybody decodes."""

    all: float
    decoding: float
    per_cpu: float
    """All of them, by a second of processor time of the busiest thread, the one that computes.
    What a neighbour takes of the processor does not count, what he leaves in its caches does."""
    busy: float
    """Which part of the time that thread had the processor."""


async def throughput(server: Server, prompts: Prompts, requests: int) -> Rates:
    texts = [prompts.make(PROMPT) for _ in range(requests)]
    before, start = server.cpu_seconds(), time.perf_counter()
    tracks = await asyncio.gather(*(follow(server, text, ANSWER) for text in texts))
    wall = time.perf_counter() - start
    computing = max(t - before.get(name, 0) for name, t in server.cpu_seconds().items())
    total = sum(track.tokens for track in tracks)
    assert total == requests * ANSWER, f"{server.name} gave {total} tokens"
    begin, end = max(t.first for t in tracks), min(t.last for t in tracks)
    together = sum(track.between(begin, end) for track in tracks)
    return Rates(total / wall, together / (end - begin), total / computing, computing / wall)


async def shared_prefix(server: Server, prompts: Prompts) -> tuple[float, float]:
    """First token after an unknown prompt, and after one whose holder is generating."""
    cold = await first_token(server, prompts.make(PREFIX))
    prefix = prompts.make(PREFIX)
    track = Track()
    holder = asyncio.create_task(follow(server, prefix + "9 holder", 400, track))
    await begun(holder, track)
    warm = await first_token(server, prefix + "8 other")
    await cancelled(holder)
    return cold, warm


async def stall(server: Server, prompts: Prompts) -> float:
    """The longest silence of four streams while a prompt of 512 tokens comes in."""
    tracks = [Track() for _ in range(4)]
    running = [
        asyncio.create_task(follow(server, prompts.make(PROMPT), 400, track)) for track in tracks
    ]
    for task, track in zip(running, tracks, strict=True):
        await begun(task, track)
    await asyncio.sleep(0.2)
    start = time.perf_counter()
    await first_token(server, prompts.make(ADMITTED))
    end = time.perf_counter()
    await asyncio.sleep(0.2)
    for task in running:
        await cancelled(task)
    return max(track.longest_silence(start, end + 0.1) for track in tracks)


async def cancel_in_prefill(server: Server, prompts: Prompts) -> float:
    """From the cancel of a long prompt to the next request's first token."""
    doomed = asyncio.create_task(follow(server, prompts.make(PREFIX), 8))
    await asyncio.sleep(HEAD_START)
    following = prompts.make(8)
    start = time.perf_counter()
    await cancelled(doomed)
    await follow(server, following, 1)
    return time.perf_counter() - start


async def cancelled(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
