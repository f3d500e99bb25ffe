"""How does a message reach a worker, and its answers come back?"""

import asyncio
import itertools
import logging
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, Self

from gateway.observability.metrics import Metrics
from gateway.scheduling.quarantine import Fingerprint, Poison
from gateway.workers.fleet import Fleet, Worker
from gateway.workers.handshake import Greeter
from gateway.workers.process_watch import Watch
from gateway.workers.zmq_router import Router, Sent
from protocol.codec import decode, encode
from protocol.errors import ErrorCode, ProtocolError
from protocol.logs import RateLimitedLog
from protocol.messages import (
    Cancel,
    Chunk,
    Chunks,
    Credit,
    Detokenized,
    Embedded,
    Failed,
    Finished,
    Heartbeat,
    Hello,
    Introduce,
    Loaded,
    Message,
    Refused,
    Tokenized,
    Welcome,
)

log = logging.getLogger(__name__)

Answer = Finished | Failed | Loaded | Tokenized | Detokenized | Embedded
"""A message of these kinds is the last one of its request."""

PORTION = 64
"""Tokens that are granted at once: a message for every token would cost more than the token."""
DIED = "died"
"""How a worker was lost, as long as nobody knows more: worth a post-mortem."""


class Watcher(Protocol):
    """Is told what happens to workers; must not wait."""

    def joined(self, worker: Worker) -> None: ...

    def released(self, worker: Worker) -> None: ...

    def lost(self, worker: Worker, how: str) -> None: ...


class Call:
    """One request in a worker, from its first frame to its answer."""

    __slots__ = ("_link", "_owed", "answer", "cancelled_at", "feed", "fingerprint", "id", "worker")

    def __init__(
        self, link: "Link", id: int, worker: Worker, feed: "Feed", fingerprint: Fingerprint | None
    ):
        self._link = link
        self.id = id
        self.worker = worker
        self.feed = feed
        self.fingerprint = fingerprint
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.cancelled_at = 0.0
        self._owed = 0

    def grant(self, tokens: int) -> None:
        """Let the worker send so many tokens more; it hears of it in portions."""
        self._owed += tokens
        if self._owed >= PORTION and not self.answer.done():
            self._link.send(self.worker, Credit(self.id, self._owed))
            self._owed = 0


Feed = Callable[[Call, Chunk], None]


def _too_late(call: Call, chunk: Chunk) -> None:
    """Nobody waits for this any more; the worker knows, or will in a moment."""


def _no_chunks(call: Call, chunk: Chunk) -> None:
    raise ProtocolError(f"a chunk for request {chunk.id}, which streams nothing")


OVERDUE = 1.5
"""Heartbeats without a word after which a worker is not said to be well."""


class Link:
    def __init__(
        self,
        fleet: Fleet,
        address: str,
        greeter: Greeter,
        watcher: Watcher,
        heartbeat: float = 1.0,
    ) -> None:
        self.fleet = fleet
        self._greeter = greeter
        self._watcher = watcher
        self.metrics = Metrics()
        self.poison = Poison(0)
        self.heartbeat = heartbeat
        self._epoch = secrets.randbits(31)
        self._ids = itertools.count((self._epoch << 32) + 1)
        self._calls: dict[int, Call] = {}
        self._watches: dict[bytes, Watch] = {}
        self._refused = RateLimitedLog(log)
        self._dropped = RateLimitedLog(log)
        self.router = Router(address, self._take)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self.router.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for watch in self._watches.values():
            watch.stop()
        for call in self._calls.values():
            call.answer.cancel()
        await self.router.__aexit__(*exc_info)

    @asynccontextmanager
    async def request(
        self,
        worker: Worker,
        build: Callable[[int], Message],
        feed: Feed = _no_chunks,
        fingerprint: Fingerprint | None = None,
    ) -> AsyncIterator[Call]:
        """Send one request and take its chunks as they come; `call.answer` is its end.

        `feed` is called from the event loop and must neither wait nor raise. Leaving the
        block before the answer, by error or by cancellation, cancels the request in the
        worker; its slot is free again when the worker says so. What has a `fingerprint` is
        a suspect when the worker dies meanwhile.
        """
        call = Call(self, next(self._ids), worker, feed, fingerprint)
        self._calls[call.id] = call
        self.fleet.assign(worker, call.id, self._loop.time())
        try:
            if self.fleet.find(worker.identity) is worker:
                self.send(worker, build(call.id))
            else:
                call.answer.set_result(_lost(call.id, worker, "is gone"))
            yield call
        finally:
            # Cancelling a task cancels the future that it waits for, which is no answer.
            if call.answer.done() and not call.answer.cancelled():
                self._calls.pop(call.id, None)
            else:
                call.feed, call.cancelled_at = _too_late, self._loop.time()
                call.answer.cancel()
                self.send(worker, Cancel(call.id))

    def send(self, worker: Worker, message: Message) -> None:
        self._send(worker.identity, message)

    def _send(self, identity: bytes, message: Message) -> None:
        match self.router.send(identity, encode(message)):
            case Sent.FULL:
                self.lose(identity, "does not read its messages any more")
            case Sent.UNREACHABLE:
                self.lose(identity, DIED)

    def _take(self, frames: list[bytes]) -> None:
        try:
            if len(frames) != 2:
                raise ProtocolError(f"{len(frames)} frames")
            identity, frame = frames
            message = decode(frame)
            worker = self.fleet.find(identity)
            if isinstance(message, Hello):
                self._welcome(identity, message)
            elif worker is None:
                self._send(identity, Introduce())
            else:
                self._deliver(worker, message)
        except ProtocolError as error:
            self._dropped.warning("dropped a frame from %r: %s", frames[0][:64], error)

    def _welcome(self, identity: bytes, hello: Hello) -> None:
        if reason := self._greeter.objection(identity, hello):
            name = identity[:64].decode(errors="replace")
            self._refused.warning("refused worker %s: %s", name, reason)
            return self._send(identity, Refused(ErrorCode.REFUSED, reason))
        if known := self.fleet.find(identity):
            self._abandon(known, "started over")
        elif hello.host == socket.gethostname() and not self._greeter.is_guest(hello):
            self._watches[identity] = Watch(hello.pid, lambda: self.lose(identity, DIED))
        worker = self.fleet.join(identity, hello, self._loop.time())
        self._send(identity, Welcome(self.heartbeat, self._epoch))
        log.info("worker %s joined, holding %s", worker.name, worker.model or "no model")
        self._watcher.joined(worker)

    def _deliver(self, worker: Worker, message: Message) -> None:
        worker.last_heard = self._loop.time()
        if isinstance(message, Chunks):
            for chunk in message.chunks:
                if call := self._call(worker, chunk.id):
                    call.feed(call, chunk)
        elif isinstance(message, Answer):
            if call := self._call(worker, message.id):
                self._answer(call, message)
        elif isinstance(message, Heartbeat):
            self.fleet.hear(worker, message, worker.last_heard)
        else:
            raise ProtocolError(f"{type(message).__name__} is for workers to hear")

    def _call(self, worker: Worker, id: int) -> Call | None:
        """The request, if it is this worker's; anything else is of another time, or forged."""
        call = self._calls.get(id)
        return call if call and call.worker is worker else None

    def _answer(self, call: Call, answer: Answer) -> None:
        del self._calls[call.id]
        if isinstance(answer, Loaded):
            self.fleet.loaded(call.worker, answer)
        self.fleet.release(call.worker, call.id, self._loop.time())
        self._count(call, answer)
        if not call.answer.done():
            call.answer.set_result(answer)
        self._watcher.released(call.worker)

    def _count(self, call: Call, answer: Answer) -> None:
        if call.cancelled_at:
            self.metrics.cancel.observe(self._loop.time() - call.cancelled_at)
        if isinstance(answer, Finished):
            self.metrics.prompt_tokens += answer.prompt_tokens
            self.metrics.reused_tokens += answer.reused_tokens

    def lose(self, identity: bytes, how: str) -> None:
        """Forget a worker at once; its requests are told when it is known how it ended."""
        if watch := self._watches.pop(identity, None):
            watch.stop()
        if worker := self.fleet.lose(identity):
            log.warning("worker %s %s", worker.name, how)
            self._watcher.lost(worker, how)

    def stopped(self, worker: Worker) -> bool:
        """Its process is on this machine and does not run, because somebody has stopped it."""
        watch = self._watches.get(worker.identity)
        return bool(watch and watch.stopped)

    def kill(self, worker: Worker, how: str) -> None:
        """End a process that is alive and of no use, and forget it."""
        if watch := self._watches.get(worker.identity):
            watch.kill()
        self.lose(worker.identity, how)

    def silent(self, worker: Worker) -> bool:
        """Whether a heartbeat is overdue; it may be about to be given up."""
        return self._loop.time() - worker.last_heard > OVERDUE * self.heartbeat

    def stays(self, worker: Worker) -> None:
        """It was meant to go and will not: who waits may have it."""
        self._watcher.released(worker)

    def fail(self, worker: Worker, how: str) -> None:
        """End what a lost worker left unanswered."""
        if not worker.retiring:
            self.metrics.lost(how)
            calls = [self._calls[id] for id in worker.requests if id in self._calls]
            prints = [call.fingerprint for call in calls if call.fingerprint]
            self.poison.blame(prints, worker.name, how, self._loop.time())
        self._abandon(worker, how)

    def _abandon(self, worker: Worker, how: str) -> None:
        for id in list(worker.requests):
            if call := self._calls.get(id):
                self._answer(call, _lost(id, worker, how))


def _lost(id: int, worker: Worker, how: str) -> Failed:
    return Failed(id, ErrorCode.WORKER_LOST, f"the worker of the binding {worker.binding} {how}")
