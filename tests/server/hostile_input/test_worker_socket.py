"""Malformed and forged messages on the workers' socket have no effect on the gateway."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
import zmq
import zmq.asyncio

from protocol import PROTOCOL_VERSION
from protocol.codec import decode, encode
from protocol.messages import (
    Cancel,
    Chunk,
    Chunks,
    Detokenized,
    Embedded,
    Failed,
    Finished,
    Heartbeat,
    Hello,
    Introduce,
    Load,
    Loaded,
    Message,
    Tokenized,
    Welcome,
)
from protocol.run_folder import run_folder, secret_file, workers_address
from tests.support.harness import PATIENCE, Client, Home, chunks, client, run

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

    def __init__(self, server: Home, context: Any, name: str) -> None:
        run = run_folder(server.folder)
        self._secret = secret_file(run).read_text()
        self.dealer = context.socket(zmq.DEALER)
        self.dealer.linger = 0
        self.dealer.identity = f"single.4711.{name}".encode()
        self.dealer.connect(workers_address(run))

    async def hello(self) -> int:
        """Say Hello; return the gateway's epoch."""
        said = Hello(PROTOCOL_VERSION, "single", 4711, 1, self._secret, host="elsewhere")
        await self.dealer.send(encode(said))
        async with asyncio.timeout(PATIENCE):
            while not isinstance(answer := decode(await self.dealer.recv()), Welcome):
                pass
        return answer.epoch


async def sent(server: Home, counts: Counter[str]) -> None:
    """Send all frames while a client is served by the real worker."""
    with zmq.asyncio.Context() as context:
        stranger, forger = Forger(server, context, "stranger"), Forger(server, context, "forger")
        epoch = await forger.hello()
        theirs = [(epoch << 32) + n for n in range(1, 9)]
        try:
            async with client(server) as connected, asyncio.TaskGroup() as group:
                reader = group.create_task(_streams(connected))
                for one, other in zip(frames(1, IDS), frames(2, theirs), strict=True):
                    await stranger.dealer.send_multipart(one)
                    await forger.dealer.send_multipart(other)
                    counts["frames"] += 2
                await stranger.hello()
                await forger.hello()  # everything sent before has been read now
            counts["streams meanwhile"] = reader.result()
        finally:
            stranger.dealer.close()
            forger.dealer.close()


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
