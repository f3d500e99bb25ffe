"""The ZeroMQ link: send requests to workers, and hand their chunks and answers on."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Protocol

import zmq

from gateway.observability.metrics import Metrics
from gateway.workers.call import Answer, Call, Feed, OnProgress, Progress, no_chunks, no_progress
from gateway.workers.calls import Calls, lost
from gateway.workers.fleet import Fleet
from gateway.workers.handshake import Handshake, Peer
from gateway.workers.process_watch import ProcessWatch
from gateway.workers.strangers import DISMISSAL, Strangers, withdrawn
from gateway.workers.untrusted_values import check_hello, check_loaded, check_progress
from gateway.workers.worker import Worker
from gateway.workers.zmq_router import Batch, RemoteEndpoint, Router, Sent, peer_of
from protocol.codec import MAX_ITEMS, decode, encode, ids_of, unsendable
from protocol.errors import ErrorCode, ProtocolError
from protocol.logs import RateLimitedLog
from protocol.messages import (
    Chunks,
    Failed,
    Heartbeat,
    Hello,
    Introduce,
    Loaded,
    Message,
    Quit,
    Refused,
    Welcome,
)

log = logging.getLogger(__name__)

OVERDUE = 1.5
"""Heartbeats; a worker without a message for longer counts as silent."""
MAX_HELLO = 2**16
"""Bytes of a Hello, and of any frame of a peer that has not said one."""
DIED = "died"
"""How a worker was lost, before a post-mortem says more."""
WITHDRAWN = "was dismissed: its key was withdrawn"
"""How a remote worker was lost that did nothing wrong."""


class WorkerObserver(Protocol):
    """Receives what happens to workers. Called from the event loop; must not wait."""

    def joined(self, worker: Worker) -> None: ...

    def released(self, worker: Worker) -> None: ...

    def lost(self, worker: Worker, how: str) -> None: ...


class _NoObserver:
    """In place before `serving`; there are no workers then."""

    def joined(self, worker: Worker) -> None: ...

    def released(self, worker: Worker) -> None: ...

    def lost(self, worker: Worker, how: str) -> None: ...


class Link:
    def __init__(
        self,
        fleet: Fleet,
        address: str,
        handshake: Handshake,
        metrics: Metrics,
        *,
        remote: RemoteEndpoint | None = None,
        batch: Batch | None = None,
        heartbeat: float = 1.0,
        dismissal: float = DISMISSAL,
    ) -> None:
        """`remote` is the address for workers on other machines. `batch` is called before and
        after each batch of messages. `heartbeat` in seconds; `dismissal`: see `Strangers`."""
        self.fleet = fleet
        self._handshake = handshake
        self._metrics = metrics
        self.heartbeat = heartbeat
        self._calls = Calls(
            fleet, metrics, send=self.send, now=lambda: self._loop.time(),
            released=lambda worker: self._observer.released(worker),
        )  # fmt: skip
        self._watches: dict[bytes, ProcessWatch] = {}
        self._strangers = Strangers(dismissal)
        self._refused = RateLimitedLog(log)
        self._dropped = RateLimitedLog(log)
        self._router = Router(address, self._take, remote=remote, batch=batch)
        self._observer: WorkerObserver = _NoObserver()

    @asynccontextmanager
    async def serving(self, observer: WorkerObserver) -> AsyncIterator[None]:
        """Listen until the block ends, and report to `observer`.

        Raise CannotStart when the address for remote workers cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        async with self._router:
            try:
                yield
            finally:
                for watch in self._watches.values():
                    watch.stop()
                self._calls.close()

    @asynccontextmanager
    async def request(
        self,
        worker: Worker,
        build: Callable[[int], Message],
        feed: Feed = no_chunks,
        tag: Hashable | None = None,
        slot: bool = False,
        progress: OnProgress = no_progress,
    ) -> AsyncIterator[Call]:
        """Send one request and take its chunks as they come; `call.answer` is its end. It takes
        a slot of the worker if it is a generation.

        `feed` and `progress` are called from the event loop and must neither wait nor raise.
        Leaving the block before the answer, by error or by cancellation, cancels the request
        in the worker; its slot is free again when the worker says so. `tag` is the caller's:
        see `tags`.
        """
        call = self._calls.start(worker, feed, tag, slot=slot)
        call.progress = progress
        try:
            if self.fleet.find(worker.identity) is worker:
                self._start(call, build(call.id))
            else:
                call.answer.set_result(lost(call.id, worker, "is gone"))
            yield call
        finally:
            call.progress = no_progress
            self._calls.leave(call)

    def _start(self, call: Call, message: Message) -> None:
        frame = encode(message)
        if why := unsendable(message, frame):
            error = f"the request cannot be sent to a worker: {why}"
            return self._calls.end(call, Failed(call.id, ErrorCode.BAD_REQUEST, error))
        self._send_frame(call.worker.identity, frame)

    def stop(self, call: Call) -> None:
        """Ask the worker to end the request; its last chunks and its answer still come."""
        if not call.answer.done():
            self._calls.stop(call)

    def send(self, worker: Worker, message: Message) -> None:
        self._send(worker.identity, message)

    def _send(self, identity: bytes, message: Message) -> None:
        self._send_frame(identity, encode(message))

    def _send_frame(self, identity: bytes, frame: bytes) -> None:
        match self._router.send(identity, frame):
            case Sent.FULL:
                self.lose(identity, "does not read its messages any more")
            case Sent.UNREACHABLE:
                self.lose(identity, DIED)

    def _take(self, sender: zmq.Frame, frames: list[bytes]) -> None:
        identity = sender.bytes
        try:
            if len(frames) != 1:
                raise ProtocolError(f"{len(frames) + 1} frames")
            worker = self.fleet.find(identity)
            if worker is None and len(frames[0]) > MAX_HELLO:
                raise ProtocolError(f"{len(frames[0])} bytes from a stranger")
            message = decode(frames[0])
            if isinstance(message, Hello):
                if len(frames[0]) > MAX_HELLO:
                    raise ProtocolError(f"a Hello of {len(frames[0])} bytes")
                check_hello(message)
                self._welcome(identity, message, peer_of(sender))
            elif worker is None:
                if answer := self._strangers.answer(identity, self._loop.time()):
                    self._send(identity, answer)
            else:
                self._deliver(worker, message)
        except ProtocolError as error:
            self._dropped.warning("dropped a frame from %r: %s", identity[:64], error)
            if frames and (worker := self.fleet.find(identity)):
                self._calls.fail_unreadable(worker, ids_of(frames[-1]))

    def _welcome(self, identity: bytes, hello: Hello, peer: Peer) -> None:
        now = self._loop.time()
        if self._handshake.too_early(hello, peer):
            return self._send(identity, Introduce())
        dismissed = self._strangers.objection(identity, now)
        if reason := dismissed or self._handshake.objection(identity, hello, peer):
            name = identity[:64].decode(errors="replace")
            self._refused.warning("refused worker %s: %s", name, reason)
            return self._send(identity, Refused(ErrorCode.REFUSED, reason))
        if known := self.fleet.find(identity):
            self._calls.fail_all(known, "started over")
        self._strangers.forget(identity)
        self._watch(identity, peer.pid)
        worker = self.fleet.join(identity, hello, now, self._handshake.entry(hello, peer))
        self._send(identity, Welcome(self.heartbeat, self._calls.epoch))
        log.info("worker %s joined, holding %s", worker.name, worker.model or "no model")
        self._observer.joined(worker)

    def _watch(self, identity: bytes, pid: int) -> None:
        """Watch the process that connected; a pid that nothing but a Hello names is not watched,
        so it is never signalled."""
        if earlier := self._watches.pop(identity, None):
            earlier.stop()
        if pid:
            self._watches[identity] = ProcessWatch(pid, lambda: self.lose(identity, DIED))

    def _deliver(self, worker: Worker, message: Message) -> None:
        now = self._loop.time()
        self.fleet.hear(worker, now)
        if isinstance(message, Chunks):
            for chunk in message.chunks:
                if call := self._calls.find(worker, chunk.id):
                    if not 0 <= chunk.count <= MAX_ITEMS:  # it is credit, and may be summed up
                        raise ProtocolError(f"a chunk of {chunk.count} tokens")
                    call.feed(call, chunk)
        elif isinstance(message, Answer):
            if isinstance(message, Loaded):
                check_loaded(message)
            if call := self._calls.find(worker, message.id):
                self._calls.end(call, message)
        elif isinstance(message, Heartbeat):
            self._calls.reconcile(worker, message, self.heartbeat)
        elif isinstance(message, Progress):
            check_progress(message)
            if call := self._calls.find(worker, message.id):
                call.report(message, now)
        else:
            raise ProtocolError(f"{type(message).__name__} is a message to workers")

    def lose(self, identity: bytes, how: str) -> None:
        """Remove a worker at once. Its requests fail later, when it is known how it ended."""
        if watch := self._watches.pop(identity, None):
            watch.stop()
        if worker := self.fleet.lose(identity, self._loop.time()):
            log.warning("worker %s %s", worker.name, how)
            self._observer.lost(worker, how)

    def stopped(self, worker: Worker) -> bool:
        """Whether its process is on this machine and stopped (SIGSTOP)."""
        watch = self._watches.get(worker.identity)
        return bool(watch and watch.stopped)

    def kill(self, worker: Worker, how: str) -> None:
        """Kill the process of a useless worker, and remove it. A remote one is told to quit."""
        if watch := self._watches.get(worker.identity):
            watch.kill()
        self.lose(worker.identity, how)
        if worker.remote:
            self._dismiss(worker, Quit(f"it {how}"))

    def withdraw(self, worker: Worker) -> None:
        """Remove a remote worker whose key was withdrawn, and have its process end."""
        self.lose(worker.identity, WITHDRAWN)
        self._dismiss(worker, withdrawn())

    def _dismiss(self, worker: Worker, farewell: Quit | Refused) -> None:
        self._strangers.dismiss(worker.identity, farewell, self._loop.time())
        self._send(worker.identity, farewell)

    def silent(self, worker: Worker) -> bool:
        """Whether a heartbeat is overdue."""
        return self._loop.time() - worker.last_heard > OVERDUE * self.heartbeat

    def keep(self, worker: Worker) -> None:
        """It was asked to stop and will not: waiting requests may use it again."""
        self.fleet.keep(worker)
        self._observer.released(worker)

    def tags(self, worker: Worker) -> list[Hashable]:
        """The tags of its unanswered requests."""
        return self._calls.tags(worker)

    def fail(self, worker: Worker, how: str) -> None:
        """Fail the unanswered requests of a lost worker."""
        if not worker.retiring:
            self._metrics.worker_lost(how)
        self._calls.fail_all(worker, how)
