"""Malformed and forged messages on the workers' socket have no effect on the gateway."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest

from protocol.codec import encode
from protocol.messages import (
    Cancel,
    Chunk,
    Chunks,
    Detokenized,
    Embedded,
    Failed,
    Finished,
    Heartbeat,
    Introduce,
    Load,
    Loaded,
    Message,
    Tokenized,
    Welcome,
)
from protocol.run_folder import run_folder, secret_file, workers_address
from tests.support.harness import PATIENCE, ROOT, Client, Home, chunks, client, run

Frames = list[bytes]
EACH = 250
"""Frames from a peer without the secret, and as many from one that knows it."""
IDS = [0, 1, -1, 7, 2**31, 2**32 + 1, (2**30 << 32) + 1, 2**63 - 1]
"""Request ids of an earlier epoch, and ids that were never used."""


def bombs() -> Iterator[bytes]:
    yield b"\xdd\xff\xff\xff\xff"  # header of an array with 2^32 - 1 elements
    yield b"\xdf\xff\xff\xff\xff"  # header of a map with as many
    yield b"\xdb\xff\xff\xff\xff"  # header of a string of 4 GiB
    yield b"\x91" * 100_000
    yield b"\x81\xa1a" * 50_000
    yield msgpack.packb([["x"] * 100] * 10_000)
    yield msgpack.packb({n: n for n in range(10_000)})
    yield msgpack.packb(["Chunks", {"chunks": [[1, "x", [1], 1]] * 100_000}])
    for code in (0, 1, 42, 126, 127):
        yield msgpack.packb(["Finished", {"id": msgpack.ExtType(code, b"x" * 100), "reason": "x"}])
        yield msgpack.packb(msgpack.ExtType(code, b""))


def forged(ids: list[int]) -> Iterator[bytes]:
    """Well-formed messages about requests that have ended or belong to another worker."""
    for id in ids:
        answers: list[Message] = [
            Chunks([Chunk(id, "forged", [1], 2**62)]), Finished(id, "stop", -5), Cancel(id),
            Failed(id, "no such code", "x\0\n" * 100), Loaded(id, "../x", -1, slots=-3),
            Tokenized(id, [-1]), Detokenized(id, "\ufffd"), Embedded(id, [float("nan")]),
            Load(id, "/etc/passwd"), Welcome(1e300, id), Introduce(), Heartbeat(id, id),
        ]  # fmt: skip
        yield from map(encode, answers)


def frames(seed: int, ids: list[int]) -> list[Frames]:
    dice = random.Random(seed)
    good = list(forged(ids))
    made: list[Frames] = [[bomb] for bomb in bombs()] + [[frame] for frame in good]
    kinds = [
        "Hello",
        "Chunks",
        "Finished",
        "Loaded",
        "Heartbeat",
        "Failed",
        "__class__",
        "",
        None,
        7,
    ]
    values = [
        None,
        True,
        -1,
        2**63,
        1.5,
        float("inf"),
        "",
        "x" * 1000,
        b"\xff",
        [],
        [[]],
        {},
        {"a": 1},
    ]
    while len(made) < EACH:
        match dice.randrange(4):
            case 0:
                made.append([dice.randbytes(dice.choice([0, 1, 10, 2000]))])
            case 1:
                frame = bytearray(dice.choice(good))
                for _ in range(dice.randint(1, 4)):
                    frame[dice.randrange(len(frame))] = dice.randrange(256)
                made.append([bytes(frame[: dice.randint(1, len(frame))])])
            case 2:
                fields = {dice.choice(["id", "reason", "chunks", "pid", "x"]): dice.choice(values)
                          for _ in range(3)}  # fmt: skip
                made.append([msgpack.packb([dice.choice(kinds), fields])])
            case 3:
                made.append([dice.randbytes(9) for _ in range(dice.randint(2, 5))])
    dice.shuffle(made)
    return made


class Forger:
    """A peer that knows the secret and claims to be a worker of another binding."""

    def __init__(self, process: asyncio.subprocess.Process, secret: str) -> None:
        self._process = process
        self._secret = secret

    async def send(self, frames: Frames) -> None:
        await self._write([frame.hex() for frame in frames])

    async def hello(self) -> int:
        """Say Hello; return the gateway's epoch."""
        await self._write(self._secret)
        assert self._process.stdout
        async with asyncio.timeout(PATIENCE):
            return int(await self._process.stdout.readline())

    async def _write(self, order: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()


@asynccontextmanager
async def forging(server: Home, name: str) -> AsyncIterator[Forger]:
    run = run_folder(server.folder)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.hostile_input.forger", workers_address(run), "single",
        name, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Forger(process, secret_file(run, "single").read_text())
    finally:
        process.kill()
        await process.wait()


async def sent(server: Home, counts: Counter[str]) -> None:
    """Send all frames while a client is served by the real worker."""
    async with forging(server, "stranger") as stranger, forging(server, "forger") as forger:
        epoch = await forger.hello()
        theirs = [(epoch << 32) + n for n in range(1, 9)]
        async with client(server) as connected, asyncio.TaskGroup() as group:
            reader = group.create_task(_streams(connected))
            for one, other in zip(frames(1, IDS), frames(2, theirs), strict=True):
                await stranger.send(one)
                await forger.send(other)
                counts["frames"] += 2
            await stranger.hello()
            await forger.hello()  # everything sent before has been read now
        counts["streams meanwhile"] = reader.result()


async def _streams(connected: Client) -> int:
    count = 10
    for _ in range(count):
        events = await connected.generate("x", n_predicts=200, parameters={"seed": 1})
        assert events[-1][1]["text"] == chunks(events) and events[-1][1]["tokens"] == 200
        assert "forged" not in chunks(events)
    return count


@pytest.mark.timeout(180)
def test_five_hundred_frames(server: Home, block: Callable[..., Any]) -> None:
    counts: Counter[str] = Counter()
    with block("frames on the workers' socket", counts):
        run(sent(server, counts), 150)
        assert counts["frames"] == 2 * EACH
    lines = server.log("gateway").count("dropped")
    assert lines < 100, "a complaint for every frame"
