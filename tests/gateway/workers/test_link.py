"""A message reaches its worker and the answers come back, whatever else comes by the socket."""

import asyncio
import contextlib
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgpack
import pytest
import zmq
import zmq.asyncio

from gateway.observability.metrics import Metrics
from gateway.workers.call import Progress
from gateway.workers.fleet import Fleet
from gateway.workers.handshake import Handshake
from gateway.workers.link import DIED, Call, Link
from gateway.workers.worker import Worker
from protocol import PROTOCOL_VERSION
from protocol.codec import decode, encode
from protocol.messages import (
    Cancel,
    Chunk,
    Chunks,
    Credit,
    Failed,
    Finished,
    Generate,
    Heartbeat,
    Hello,
    Introduce,
    Load,
    Loaded,
    LoadProgress,
    Message,
    PromptProgress,
    Refused,
    Tokenize,
    Tokenized,
    Welcome,
)
from tests.support.harness import PATIENCE, ROOT, run

SECRET = "the secret of this gateway"


class KnownSecrets:
    known: ClassVar[dict[str, str]] = {"echo": SECRET, "private": "the secret of another binding"}

    def get(self, binding: str) -> str:
        return self.known.get(binding, "")

    def create(self, binding: str) -> bool:
        return False


REMOTE_SECRET = "the secret of a remote worker"


def entry_of(key: str, secret: str) -> str:
    return f"rack7 {key}" if secret == REMOTE_SECRET else ""


class Log:
    """What the link told of its workers."""

    def __init__(self) -> None:
        self.news: list[tuple[str, str]] = []
        self.link: Link
        self._changed = asyncio.Event()

    def joined(self, worker: Worker) -> None:
        self._note("joined", worker.name)

    def released(self, worker: Worker) -> None:
        self._note("released", worker.name)

    def lost(self, worker: Worker, how: str) -> None:
        self._note("lost", how)
        self.link.fail(worker, how)

    def _note(self, *news: str) -> None:
        self.news.append((news[0], news[1]))
        self._changed.set()

    async def until(self, what: str, count: int = 1) -> None:
        async with asyncio.timeout(PATIENCE):
            while sum(kind == what for kind, _ in self.news) < count:
                self._changed.clear()
                await self._changed.wait()


class Peer:
    """Something with a DEALER: a worker, or somebody who says so."""

    def __init__(self, dealer: Any, identity: bytes) -> None:
        self.dealer = dealer
        self.identity = identity

    async def send(self, message: Message) -> None:
        await self.dealer.send(encode(message))

    async def receive(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            return decode(await self.dealer.recv())

    async def hello(self, **fields: Any) -> Message:
        binding, pid = self.identity.decode().split(".")[:2]
        usual = {
            "protocol": PROTOCOL_VERSION, "binding": binding, "pid": int(pid), "slots": 4,
            "secret": SECRET, "host": "elsewhere",
        }  # fmt: skip
        await self.send(Hello(**{**usual, **fields}))
        return await self.receive()


class Place:
    """A link, and as many peers as a test wants."""

    def __init__(self, link: Link, log: Log, address: str, context: Any) -> None:
        self.link, self.log, self.fleet = link, log, link.fleet
        self.address, self.context = address, context
        self.dealers: list[Any] = []
        self.gateway_key, self.remote_address = b"", ""  # for remote workers

    def peer(self, name: str = "one", binding: str = "echo", pid: int = 0) -> Peer:
        identity = f"{binding}.{pid or os.getpid()}.{name}".encode()
        dealer = self.context.socket(zmq.DEALER)
        self.dealers.append(dealer)
        dealer.linger = 0
        dealer.identity = identity
        dealer.connect(self.address)
        return Peer(dealer, identity)

    def close(self) -> None:
        for dealer in self.dealers:
            dealer.close()

    async def worker(self, name: str = "good", **fields: Any) -> tuple[Peer, Worker]:
        peer = self.peer(name)
        assert isinstance(await peer.hello(**fields), Welcome)
        worker = self.fleet.find(peer.identity)
        assert worker is not None
        return peer, worker

    async def serves(self, peer: Peer, worker: Worker) -> None:
        """A round trip of the good one."""
        async with self.link.request(worker, lambda id: Tokenize(id, "x")) as call:
            asked = await peer.receive()
            assert isinstance(asked, Tokenize) and asked.id == call.id
            await peer.send(Tokenized(asked.id, [1, 2]))
            async with asyncio.timeout(PATIENCE):
                answer = await call.answer
        assert answer == Tokenized(call.id, [1, 2])
        assert not worker.requests


@contextlib.asynccontextmanager
async def place(folder: Path, **options: Any) -> AsyncIterator[Place]:
    """`options` are those of the link."""
    address = f"ipc://{folder}/w"
    log = Log()
    handshake = Handshake(KnownSecrets(), lambda name: name in KnownSecrets.known, entry_of)
    with zmq.asyncio.Context() as context:
        link = Link(Fleet(), address, handshake, Metrics(), **options)
        log.link = link
        async with link.serving(log):
            opened = Place(link, log, address, context)
            try:
                yield opened
            finally:
                opened.close()


GARBAGE: list[list[bytes]] = [
    [b""],
    [b"", b""],
    [b"\x00" * 1000],
    [b"\xc1"],  # msgpack never uses this byte
    [b"{}"],
    [os.urandom(5000)],
    [msgpack.packb(["NoSuchKind", {}])],
    [msgpack.packb(["Hello", {}])],
    [msgpack.packb(["Hello", {"protocol": "1", "binding": 7, "pid": None, "slots": []}])],
    [msgpack.packb(["Finished", {"id": "x", "reason": 1, "tokens": True}])],
    [msgpack.packb(["__class__", {}])],
    [msgpack.packb({"a": 1})],
    [msgpack.packb([[[[[]]]]] * 100)],
    [b"\x91" * 100_000],  # nested deeper than anybody reads
    [b"\xdd\xff\xff\xff\xff"],  # an array of four billion
    [b"a", b"b", b"c"],
    [encode(Heartbeat(1, 1)), b"more"],
]


def test_garbage_is_dropped_and_the_good_worker_serves(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            for sender in (here.peer("stranger"), peer):
                for frames in GARBAGE:
                    await sender.dealer.send_multipart(frames)
                    await here.serves(peer, worker)
            assert here.fleet.all() == [worker]
            assert not [news for news in here.log.news if news[0] == "lost"]

    run(scenario())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"protocol": PROTOCOL_VERSION + 1}, "protocol"),
        ({"protocol": -1}, "protocol"),
        ({"secret": "guessed"}, "secret"),
        ({"secret": ""}, "secret"),
        ({"secret": "é" * 100}, "secret"),
        ({"binding": "other"}, "other"),
        ({"binding": "../echo"}, "binding"),
        ({"pid": os.getppid()}, "connected"),
        ({"pid": 1}, "connected"),
        ({"pid": -4711}, "connected"),
        ({"slots": 0}, "slots"),
        ({"slots": -1}, "slots"),
    ],
)
def test_who_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            refused = await here.peer("forged").hello(**fields)
            assert isinstance(refused, Refused) and reason in refused.error
            assert here.fleet.all() == [worker]
            await here.serves(peer, worker)

    run(scenario())


def test_a_stranger_is_asked_to_introduce_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            stranger = here.peer("stranger")
            await stranger.send(Heartbeat(1, 0))
            assert isinstance(await stranger.receive(), Introduce)
            assert isinstance(await stranger.hello(model="kept"), Welcome)
            [worker] = here.fleet.all()
            assert worker.model == "kept"

    run(scenario())


def test_answers_to_another_s_request_are_nothing(tmp_path: Path) -> None:
    """Wrong owner, stale epoch, and numbers that nobody has drawn."""

    async def scenario() -> None:
        async with place(tmp_path) as here:
            good, worker = await here.worker()
            bad, _ = await here.worker("bad")
            got: list[str] = []

            def feed(call: Call, chunk: Chunk) -> None:
                got.append(chunk.text)

            async with here.link.request(worker, lambda id: Generate(id, "x"), feed) as call:
                id = (await good.receive()).id  # type: ignore[attr-defined]
                for forged in (
                    Chunks([Chunk(id, "forged", [1])]),
                    Finished(id, "stop", 1),
                    Failed(id, "binding_error", "forged"),
                ):
                    await bad.send(forged)
                for stale in (id + 1, id & 0xFFFFFFFF, 0, -1, 2**63 - 1):
                    await good.send(Chunks([Chunk(stale, "stale", [1])]))
                    await good.send(Finished(stale, "stop", 1))
                await bad.send(Welcome(1.0, 1))  # not for workers to say
                await here.serves(bad, here.fleet.find(bad.identity))  # type: ignore[arg-type]
                assert not call.answer.done() and got == []
                await good.send(Chunks([Chunk(id, "mine ", [1]), Chunk(id, "own", [2])]))
                await good.send(Finished(id, "stop", 2))
                await good.send(Chunks([Chunk(id, "late", [3])]))
                async with asyncio.timeout(PATIENCE):
                    assert await call.answer == Finished(id, "stop", 2)
            await here.serves(good, worker)
            assert got == ["mine ", "own"]

    run(scenario())


def test_progress_reaches_whoever_waits_for_the_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            other, _ = await here.worker("other")
            got: list[Progress] = []
            async with here.link.request(
                worker, lambda id: Load(id, "m"), progress=got.append
            ) as call:
                await peer.receive()
                await other.send(LoadProgress(call.id, 0.25))  # not its request
                await other.send(LoadProgress(call.id + 1, 0.25))
                await here.serves(other, here.fleet.find(other.identity))  # type: ignore[arg-type]
                await peer.send(LoadProgress(call.id, 0.5))
                for done in range(200):  # far more than an honest worker sends
                    await peer.send(PromptProgress(call.id, done, 999, 0))
                await peer.send(Loaded(call.id, "m", 0, mapped=7))
                async with asyncio.timeout(PATIENCE):
                    await call.answer
            assert got[0] == LoadProgress(call.id, 0.5) and len(got) < 100

    run(scenario())


def test_progress_of_a_request_that_was_left_is_dropped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            got: list[Progress] = []
            async with here.link.request(
                worker, lambda id: Generate(id, "x", progress=True), progress=got.append
            ) as call:
                await peer.receive()
            assert isinstance(await peer.receive(), Cancel)
            await peer.send(PromptProgress(call.id, 1, 2, 0))
            await peer.send(Finished(call.id, "cancelled", 0))
            await here.serves(peer, worker)
            assert got == []

    run(scenario())


def test_impossible_progress_ends_its_request_and_not_the_worker(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            got: list[Progress] = []
            async with here.link.request(
                worker, lambda id: Load(id, "m"), progress=got.append
            ) as call:
                await peer.receive()
                await peer.send(LoadProgress(call.id, math.nan))
                async with asyncio.timeout(PATIENCE):
                    answer = await call.answer
            assert isinstance(answer, Failed) and "cannot be read" in answer.error
            assert isinstance(await peer.receive(), Cancel)
            assert got == []
            await here.serves(peer, worker)

    run(scenario())


def test_a_second_hello_ends_what_ran_and_there_is_one_owner(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            async with here.link.request(worker, lambda id: Generate(id, "x")) as call:
                await peer.receive()
                assert isinstance(await peer.hello(), Welcome)
                async with asyncio.timeout(PATIENCE):
                    answer = await call.answer
                assert isinstance(answer, Failed) and "started over" in answer.error
                await peer.send(Finished(call.id, "stop", 1))  # too late: it has its end
            [again] = here.fleet.all()
            assert again is not worker and not again.requests
            await here.serves(peer, again)

    run(scenario())


@pytest.mark.parametrize("waits", [False, True])
def test_leaving_before_the_answer_cancels_and_the_slot_is_freed(
    tmp_path: Path, waits: bool
) -> None:
    """By an error in the block, or because the task that waits for the answer is cancelled."""

    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            entered = asyncio.Event()

            async def ask() -> None:
                async with here.link.request(worker, lambda id: Generate(id, "x")) as call:
                    entered.set()
                    if waits:
                        await call.answer
                    raise LookupError

            task = asyncio.create_task(ask())
            await entered.wait()
            asked = await peer.receive()
            task.cancel()
            with contextlib.suppress(LookupError, asyncio.CancelledError):
                await task
            assert await peer.receive() == Cancel(asked.id)  # type: ignore[attr-defined]
            assert worker.requests == {asked.id}, "its slot is taken until the worker says so"
            await peer.send(Chunks([Chunk(asked.id, "late", [1])]))
            await peer.send(Finished(asked.id, "cancelled", 1))
            await here.log.until("released")
            assert not worker.requests
            await here.serves(peer, worker)

    run(scenario())


def test_credit_is_granted_in_portions(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            async with here.link.request(worker, lambda id: Generate(id, "x")) as call:
                asked = await peer.receive()
                for _ in range(130):
                    call.grant(1)
                credits = [await peer.receive(), await peer.receive()]
                assert credits == [Credit(call.id, 64)] * 2
                await peer.send(Finished(asked.id, "stop", 130))  # type: ignore[attr-defined]
                async with asyncio.timeout(PATIENCE):
                    await call.answer
                call.grant(1000)  # nobody is left to have it
            await here.serves(peer, worker)

    run(scenario())


def test_a_worker_whose_socket_is_gone_is_lost_with_its_requests(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            async with here.link.request(worker, lambda id: Generate(id, "x")) as running:
                await peer.receive()
                peer.dealer.close()
                async with asyncio.timeout(PATIENCE):
                    while here.fleet.find(peer.identity):
                        here.link.send(worker, Credit(running.id, 1))
                        await asyncio.sleep(0)
                    answer = await running.answer
            assert isinstance(answer, Failed) and answer.code == "worker_lost"
            async with here.link.request(worker, lambda id: Generate(id, "x")) as late:
                answer = await late.answer
            assert isinstance(answer, Failed) and "is gone" in answer.error
            assert ("lost", DIED) in here.log.news
            good, other = await here.worker("good")
            await here.serves(good, other)

    run(scenario())


SAYS_HELLO = """
import os, sys, zmq
from protocol import PROTOCOL_VERSION
from protocol.codec import decode, encode
from protocol.messages import Hello
with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
    pid = int(sys.argv[3]) or os.getpid()
    dealer.identity = f"echo.{pid}.child".encode()
    dealer.connect(sys.argv[1])
    dealer.send(encode(Hello(PROTOCOL_VERSION, "echo", pid, 4, secret=sys.argv[2])))
    print(decode(dealer.recv()), flush=True)
    input()
"""


def test_a_death_is_seen_at_once_by_its_pid(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            with child(here.address) as process:
                await here.log.until("joined")
                [worker] = here.fleet.all()
                assert worker.pid == process.pid
                async with here.link.request(worker, lambda id: Generate(id, "x")) as call:
                    process.kill()
                    async with asyncio.timeout(PATIENCE):
                        answer = await call.answer
            assert isinstance(answer, Failed) and answer.code == "worker_lost"
            assert here.fleet.all() == [] and ("lost", DIED) in here.log.news

    run(scenario())


@contextlib.contextmanager
def child(address: str, pid: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A process that says Hello as a worker, with its own pid or another one, prints the answer
    and then waits."""
    command = [sys.executable, "-c", SAYS_HELLO, address, SECRET, str(pid)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def test_no_wake_up_is_lost_when_sends_and_receives_interleave(tmp_path: Path) -> None:
    """ZeroMQ's descriptor is edge-triggered: what arrives during a send must not lie there."""

    async def echo(peer: Peer, requests: int) -> None:
        for _ in range(requests):
            asked = await peer.receive()
            assert isinstance(asked, Tokenize)
            await peer.send(Heartbeat(1, 1))
            await peer.send(Tokenized(asked.id, [len(asked.text)]))

    async def ask(here: Place, worker: Worker, size: int) -> None:
        async with here.link.request(worker, lambda id: Tokenize(id, "x" * size)) as call:
            assert await call.answer == Tokenized(call.id, [size])

    async def scenario() -> None:
        async with place(tmp_path) as here:
            workers = [await here.worker(name) for name in ("a", "b", "c")]
            for _ in range(20):
                async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
                    for peer, worker in workers:
                        group.create_task(echo(peer, 40))
                        for size in range(40):
                            group.create_task(ask(here, worker, size))
            assert all(not worker.requests for _, worker in workers)

    run(scenario())
