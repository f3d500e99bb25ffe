"""Every request ends and frees its slot, whatever happens to the frames between the two links."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
import zmq

from gateway.observability.metrics import Metrics
from gateway.workers.call import Answer, Call
from gateway.workers.fleet import ON_THE_WAY, Fleet
from gateway.workers.handshake import Handshake
from gateway.workers.link import Link
from gateway.workers.zmq_router import Sent
from protocol import codec
from protocol.messages import (
    Cancel,
    Chunk,
    Detokenize,
    Embed,
    Failed,
    Finished,
    Generate,
    Load,
    Message,
    Tokenize,
)
from tests.gateway.workers.test_link import KnownSecrets
from tests.support.harness import run
from worker.binding import Binding, Model, Piece, Request
from worker.link import Link as WorkerLink
from worker.outbox import Outbox
from worker.pump import Pump

STEPS = 10_000
MAX_ITEMS, MAX_FRAME = 500, 20_000


class Words(Binding):
    """Answers with so many words as its prompt says; some answers are larger than a frame."""

    slots = 4

    def load(self, model: Model) -> None:
        pass

    def generate(self, request: Request) -> Iterator[Piece]:
        for number in range(int(request.prompt.split()[0])):
            yield Piece("word " * (6000 if "long" in request.prompt else 1), (number,))

    def tokenize(self, text: str) -> list[int]:
        return [1] * len(text)

    def detokenize(self, tokens: list[int]) -> bytes:
        return b"x" * sum(tokens)

    def embed(self, text: str) -> list[float]:
        return [0.5] * len(text)


class Wire:
    """Frames in both directions; `damage` decides what becomes of each."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.reliable = True
        self.to_worker: deque[bytes] = deque()
        self.to_gateway: deque[bytes] = deque()

    def put(self, way: deque[bytes], frame: bytes) -> None:
        fate = 1.0 if self.reliable else self.random.random()
        if fate < 0.02:
            return
        if fate < 0.04:
            way.append(frame)
        elif fate < 0.06:
            frame = frame[: self.random.randrange(len(frame))]
        elif fate < 0.08:
            frame = frame.replace(b"tokens", b"tokenz").replace(b"text", b"t\xffxt")
        way.append(frame)

    # The gateway's end, in place of a Router.

    def send(self, identity: bytes, frame: bytes) -> Sent:
        self.put(self.to_worker, frame)
        return Sent.YES


class Socket:
    """The worker's end, in place of a DEALER."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def send(self, frame: bytes, flags: int = 0) -> None:
        self._wire.put(self._wire.to_gateway, frame)

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        if not self._wire.to_worker:
            raise zmq.Again
        return [self._wire.to_worker.popleft()]


class Clock:
    now = 100.0

    def time(self) -> float:
        return self.now


class Sender:
    """The frame of an identity, as it comes by a Unix socket from this process."""

    def __init__(self, identity: bytes) -> None:
        self.bytes = identity

    def get(self, name: str) -> str:
        return f"localhost:{os.getuid()}:{os.getgid()}:{os.getpid()}"


class Scene:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.wire, self.clock = Wire(self.random), Clock()
        handshake = Handshake(KnownSecrets(), lambda name: True)
        self.link = Link(Fleet(), "unused", handshake, Metrics())
        here: Any = self.link
        here._router, here._loop = self.wire, self.clock
        self.outbox = Outbox()
        self.pump = Pump(Words(), self.outbox.put, self.outbox.full)
        self.peer = WorkerLink(
            self.pump, self.outbox, binding="echo", slots=lambda: 4, resumable=False,
            address="unused", secret=lambda: KnownSecrets().get("echo"), sandbox={},
        )  # fmt: skip
        peer: Any = self.peer
        peer._socket = Socket(self.wire)
        peer._send_hello()
        identity = f"echo.{os.getpid()}.x".encode()
        self.sender: Any = Sender(identity)
        self.deliver()
        self.tasks: list[asyncio.Task[Answer]] = []
        [self.worker] = self.link.fleet.all()

    def deliver(self) -> None:
        """Everything that is on its way arrives, and is worked on."""
        peer: Any = self.peer
        peer._receive()
        self.work()
        peer._send_output()
        while self.wire.to_gateway:
            self.link._take(self.sender, [self.wire.to_gateway.popleft()])
        peer._receive()

    def work(self) -> None:
        pump: Any = self.pump
        pump._take(wait=False)
        pump._turn()

    def beat(self) -> None:
        self.clock.now += 1.0
        peer: Any = self.peer
        peer._send_heartbeat()

    async def ask(self, build: Callable[[int], Message]) -> None:
        async def request() -> Answer:
            def feed(call: Call, chunk: Chunk) -> None:
                call.grant(chunk.count)

            async with self.link.request(self.worker, build, feed) as call:
                return await call.answer

        self.tasks.append(asyncio.create_task(request()))
        await asyncio.sleep(0)

    async def step(self) -> None:
        kind = self.random.random()
        if kind < 0.3 and self.worker.occupied < 12:
            await self.ask(self.random.choice(REQUESTS))
        elif kind < 0.4 and self.tasks:
            self.random.choice(self.tasks).cancel()
        elif kind < 0.5:
            self.beat()
        else:
            self.deliver()
        await asyncio.sleep(0)
        self.tasks = [task for task in self.tasks if not task.done()]

    async def quiet(self, beats: int) -> None:
        """Nothing is damaged any more."""
        self.wire.reliable = True
        for _ in range(beats):
            self.beat()
            for _ in range(40):
                self.deliver()
                await asyncio.sleep(0)


LENGTHS = (1, 5, 30)
REQUESTS: list[Callable[[int], Message]] = [
    *(lambda id, n=n: Generate(id, f"{n} words", credit=10**6) for n in LENGTHS),  # type: ignore[misc]
    lambda id: Generate(id, "3 long words", credit=10**6),
    lambda id: Tokenize(id, "short"),
    lambda id: Tokenize(id, "x" * (MAX_ITEMS + 1)),
    lambda id: Detokenize(id, [1, 2, 3]),
    lambda id: Detokenize(id, [MAX_FRAME]),
    lambda id: Detokenize(id, [1] * (MAX_ITEMS + 1)),
    lambda id: Embed(id, "x" * (MAX_ITEMS + 1)),
    lambda id: Embed(id, "text"),
]


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_ITEMS", MAX_ITEMS)
    monkeypatch.setattr(codec, "MAX_FRAME", MAX_FRAME)


@pytest.mark.parametrize("seed", range(4))
def test_no_slot_leaks_in_ten_thousand_steps_of_damaged_frames(seed: int) -> None:
    async def scenario() -> None:
        scene = Scene(seed)
        await scene.ask(lambda id: Load(id, "any"))
        await scene.quiet(1)
        ended = 0
        for _ in range(STEPS // 4 // 500):
            scene.wire.reliable = False
            for _ in range(500):
                await scene.step()
            # Of what was sent last and never arrived, nobody can know for a while.
            await scene.quiet(3 + int(ON_THE_WAY))
            done, running = await asyncio.wait(scene.tasks, timeout=0) if scene.tasks else ((), ())
            assert not running, "a request without an end"
            ended += len(done)
            assert not scene.worker.requests and not scene.worker.reserved
            assert not scene.link._calls._calls and not scene.pump.requests
            scene.tasks.clear()

    run(scenario())


async def answer_to(scene: Scene, build: Callable[[int], Message]) -> Answer:
    await scene.ask(build)
    await scene.quiet(1)
    return await asyncio.wait_for(scene.tasks.pop(), 1)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda id: Tokenize(id, "x" * 501), "tokens has 501 entries, and a list may have 500"),
        (lambda id: Embed(id, "x" * 501), "vector has 501 entries"),
        (lambda id: Detokenize(id, [30_000]), "a message may have 20,000"),
        (lambda id: Generate(id, "2 long words", credit=9), "a message may have 20,000"),
        (lambda id: Detokenize(id, [1] * 501), "the request cannot be sent to a worker"),
    ],
)
def test_what_is_over_the_limits_fails_its_own_request(
    build: Callable[[int], Message], words: str
) -> None:
    async def scenario() -> None:
        scene = Scene(0)
        await answer_to(scene, lambda id: Load(id, "any"))
        await scene.ask(lambda id: Generate(id, "50 words", credit=10**6))
        bystander = scene.tasks.pop()
        answer = await answer_to(scene, build)
        assert isinstance(answer, Failed) and words in answer.error
        await scene.quiet(2)
        end = await asyncio.wait_for(bystander, 1)
        assert isinstance(end, Finished) and end.tokens == 50
        assert not scene.worker.requests and not scene.pump.requests

    run(scenario())


def test_a_lost_request_frees_its_slot_within_two_heartbeats() -> None:
    async def scenario() -> None:
        scene = Scene(0)
        await answer_to(scene, lambda id: Load(id, "any"))
        await scene.ask(lambda id: Tokenize(id, "lost"))
        scene.wire.to_worker.clear()
        lost = scene.tasks.pop()
        await scene.ask(lambda id: Generate(id, "900 words", credit=1))
        for _ in range(2):
            scene.beat()
            scene.deliver()
        scene.deliver()
        answer = await asyncio.wait_for(lost, 1)
        assert isinstance(answer, Failed) and answer.error.endswith("has lost the request")
        assert len(scene.worker.requests) == 1

    run(scenario())


def test_a_cancel_is_answered_also_for_an_id_that_nobody_knows() -> None:
    async def scenario() -> None:
        scene = Scene(0)
        peer: Any = scene.peer
        scene.wire.to_worker.append(codec.encode(Cancel(4711)))
        peer._receive()
        peer._send_output()
        assert codec.decode(scene.wire.to_gateway[-1]) == Finished(4711, "cancelled", 0)

    run(scenario())


def test_what_a_worker_runs_and_nobody_waits_for_is_cancelled() -> None:
    async def scenario() -> None:
        scene = Scene(0)
        await answer_to(scene, lambda id: Load(id, "any"))
        scene.wire.to_worker.append(codec.encode(Generate(4711, "900 words", credit=1)))
        scene.deliver()
        assert scene.pump.requests == [4711]
        await scene.quiet(1)
        assert scene.pump.requests == []

    run(scenario())
