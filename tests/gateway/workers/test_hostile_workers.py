"""A worker that was taken over costs the gateway neither its pace nor its memory."""

import asyncio
import os
import socket
import struct
import time
import tracemalloc
from pathlib import Path

import msgpack
import pytest

from gateway.inference.generation import Generation
from gateway.inference.state import MAX_CHARACTERS
from gateway.observability.metrics import Metrics
from gateway.workers.calls import MOST_CANCELS
from gateway.workers.link import MAX_HELLO
from protocol import PROTOCOL_VERSION
from protocol.codec import MAX_FRAME, MAX_ITEMS, decode, encode, ids_of
from protocol.errors import ProtocolError
from protocol.messages import Cancel, Chunk, Chunks, Failed, Generate, Heartbeat, Hello, Welcome
from tests.gateway.workers.test_link import SECRET, place
from tests.support.harness import PATIENCE, run

SOON = 1.0
"""Seconds in which the gateway must have taken a frame of a few MB."""


@pytest.mark.parametrize("version", [1, 2])
def test_a_connection_that_hides_its_process_does_not_join(tmp_path: Path, version: int) -> None:
    """libzmq knows no credentials of peers that speak the protocols before ZMTP 3."""

    async def scenario() -> None:
        async with place(tmp_path) as here:
            pid = os.getppid()
            identity = f"echo.{pid}.old".encode()
            hello = encode(Hello(PROTOCOL_VERSION, "echo", pid, 4, secret=SECRET))
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(f"{tmp_path}/w")
                if version == 1:
                    peer.sendall(bytes([len(identity) + 1, 0]) + identity)
                    peer.sendall(bytes([len(hello) + 1, 0]) + hello)
                else:
                    greeting = b"\xff" + struct.pack(">Q", len(identity) + 1) + b"\x7f\x01\x05"
                    peer.sendall(greeting + bytes([0, len(identity)]) + identity)
                    peer.sendall(bytes([0, len(hello)]) + hello)
                peer.settimeout(PATIENCE)
                answer = b""
                while b"Refused" not in answer and b"Welcome" not in answer:
                    answer += await asyncio.to_thread(peer.recv, 1000)
            assert b"does not tell" in answer
            assert here.fleet.all() == []

    run(scenario())


@pytest.mark.parametrize("count", [-1, -(2**63), MAX_ITEMS + 1, 2**64 - 1])
def test_counts_that_cannot_be_are_no_chunks(tmp_path: Path, count: int) -> None:
    """As credit they could not be encoded, or would be taken away."""

    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            async with here.link.request(
                worker, lambda id: Generate(id, "x"), lambda call, chunk: call.grant(chunk.count)
            ) as call:
                await peer.receive()
                await peer.send(Chunks([Chunk(call.id, "", [], 1), Chunk(call.id, "", [], count)]))
                async with asyncio.timeout(PATIENCE):
                    answer = await call.answer
            assert isinstance(answer, Failed) and "cannot be read" in answer.error
            assert isinstance(await peer.receive(), Cancel)
            await here.serves(peer, worker)

    run(scenario())


def test_a_heartbeat_of_a_million_ids_is_answered_with_few_cancels(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            bad, worker = await here.worker("bad")
            good, other = await here.worker()
            sent: list[object] = []
            here.link._calls._send = lambda worker, message: sent.append(message)
            await bad.send(Heartbeat(1, 1, list(range(1, MAX_ITEMS + 1))))
            async with asyncio.timeout(PATIENCE):
                while not sent:
                    await asyncio.sleep(0)
            assert len(sent) == MOST_CANCELS
            assert here.fleet.find(bad.identity) is worker
            await here.serves(good, other)

    run(scenario())


def test_a_hello_is_short_and_a_stranger_says_nothing_long(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            good, worker = await here.worker()
            stranger = here.peer("stranger")
            long = "x" * MAX_HELLO
            pid = os.getpid()
            for message in (
                Hello(PROTOCOL_VERSION, "echo", pid, 4, secret=SECRET, model=long),
                Hello(PROTOCOL_VERSION, long, pid, 4, secret=SECRET),
                Chunks([Chunk(1, long)]),
            ):
                await stranger.send(message)
                await good.send(message)
            await here.serves(good, worker)
            assert isinstance(await stranger.hello(model="short"), Welcome), "and nothing before"
            assert here.fleet.find(good.identity) is worker

    run(scenario())


def test_nested_lists_are_refused_before_they_are_made() -> None:
    """64 MB of empty lists would be 4 GB of objects."""
    many = b"\xdd" + struct.pack(">I", MAX_ITEMS)
    bombs = [
        b"\x92\xa5Hello\x9f" + (many + b"\x90" * MAX_ITEMS) * 15,
        b"\x92\xa5Hello\x9f" + (many + b"\x80" * MAX_ITEMS) * 15,
        b"\x92\xa6Chunks\x81\xa6chunks" + many + b"\x94\x01\xa0\x90\x01" * MAX_ITEMS,
    ]
    for bomb in bombs:
        tracemalloc.start()
        try:
            with pytest.raises(ProtocolError, match="lists"):
                decode(bomb)
            assert tracemalloc.get_traced_memory()[1] < 4 * MAX_FRAME
        finally:
            tracemalloc.stop()


def test_as_many_lists_as_an_answer_needs_are_read() -> None:
    entries = MAX_ITEMS
    frame = msgpack.packb(
        ["Finished", {"id": 1, "reason": "stop", "tokens": 1, "logprobs": [[1.0, -0.5]] * entries}]
    )
    assert len(decode(frame).logprobs) == entries  # type: ignore[attr-defined]


def test_few_ids_of_an_unreadable_frame_are_looked_for() -> None:
    frame = b"\x92\xa6Chunks\x81\xa6chunks\xdd" + struct.pack(">I", 2**23) + b"\x91\x01" * 2**23
    began = time.process_time()
    assert ids_of(frame) == [1]
    assert time.process_time() - began < SOON


def test_an_answer_without_end_is_ended(tmp_path: Path) -> None:
    """Tokens that are not counted need no credit."""

    class Nobody:
        wants_notices = False

        def notice(self, *values: object) -> None: ...

        def chunk(self, *values: object) -> None: ...

        def ended(self, *values: object) -> None: ...

    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            generation = Generation(Nobody(), Metrics())  # type: ignore[arg-type]
            async with here.link.request(
                worker, lambda id: Generate(id, "x"), generation.feed
            ) as call:
                await peer.receive()
                generation.feed(call, Chunk(call.id, "x" * MAX_CHARACTERS, [], 0))
                assert not generation.ended.done()
                generation.feed(call, Chunk(call.id, "x", [], 0))
                assert "too long" in generation.ended.result().error  # type: ignore[union-attr]
                before = generation.bytes
                generation.feed(call, Chunk(call.id, "x" * 1000, [1] * 1000, 0))
                assert generation.bytes == before

    run(scenario())
