"""The requests that workers run: each ends once, and both sides agree on which there are."""

import itertools
import logging
import secrets
from collections.abc import Callable, Hashable

from gateway.observability.metrics import Metrics
from gateway.workers.call import Answer, Call, Feed, no_chunks
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.errors import ErrorCode
from protocol.messages import Cancel, Failed, Finished, Heartbeat, Loaded, Message

log = logging.getLogger(__name__)

MOST_CANCELS = 64
"""For what one heartbeat lists; the next one lists the rest again."""


class Calls:
    def __init__(
        self,
        fleet: Fleet,
        metrics: Metrics,
        *,
        send: Callable[[Worker, Message], None],
        released: Callable[[Worker], None],
        now: Callable[[], float],
    ) -> None:
        """`released` is called when a worker has answered: it may have room again."""
        self.epoch = secrets.randbits(31)
        """The upper 32 bits of all ids: messages for an earlier gateway match no request."""
        self._ids = itertools.count((self.epoch << 32) + 1)
        self._calls: dict[int, Call] = {}
        self._fleet = fleet
        self._metrics = metrics
        self._send = send
        self._released = released
        self._now = now

    def start(
        self, worker: Worker, feed: Feed, tag: Hashable | None, *, slot: bool = False
    ) -> Call:
        call = Call(self._send, next(self._ids), worker, feed, tag)
        self._calls[call.id] = call
        self._fleet.assign(worker, call.id, self._now(), slot=slot)
        return call

    def find(self, worker: Worker, id: int) -> Call | None:
        """The request, if it is this worker's. Otherwise the message is late, or forged."""
        call = self._calls.get(id)
        return call if call and call.worker is worker else None

    def end(self, call: Call, answer: Answer) -> None:
        del self._calls[call.id]
        if isinstance(answer, Loaded):
            self._fleet.loaded(call.worker, answer, self._now())
        self._fleet.release(call.worker, call.id, self._now())
        self._count(call, answer)
        if not call.answer.done():
            call.answer.set_result(answer)
        self._released(call.worker)

    def leave(self, call: Call) -> None:
        """Nobody waits for the answer any more. The slot is free when the worker has answered."""
        # A cancelled task has cancelled `answer`, on which it waited: that is no answer.
        if call.answer.done() and not call.answer.cancelled():
            self._calls.pop(call.id, None)
        else:
            call.feed = no_chunks
            call.answer.cancel()
            self.stop(call)

    def stop(self, call: Call) -> None:
        """Ask the worker to end the request; its last chunks and its answer still come."""
        call.cancelled_at = self._now()
        self._send(call.worker, Cancel(call.id))

    def reconcile(self, worker: Worker, beat: Heartbeat, patience: float) -> None:
        """End what the worker has lost, and cancel what it runs for nobody.

        A Cancel is repeated after `patience` seconds.
        """
        now = self._now()
        for id in self._fleet.beat(worker, beat, now):
            if call := self.find(worker, id):
                log.warning("worker %s has lost request %d", worker.name, id)
                self.end(call, lost(id, worker, "has lost the request"))
        unwanted = (id for id in beat.requests if self._unwanted(worker, id, now - patience))
        for id in itertools.islice(unwanted, MOST_CANCELS):
            self._send(worker, Cancel(id))

    def _unwanted(self, worker: Worker, id: int, since: float) -> bool:
        """Whether nobody waits for it, since that time if there was a Cancel."""
        running = self.find(worker, id)
        return not running or bool(running.cancelled_at and running.cancelled_at < since)

    def fail_unreadable(self, worker: Worker, ids: list[int]) -> None:
        """Part of these requests' answers is lost. A generation can continue from what came."""
        for id in ids:
            if call := self.find(worker, id):
                call.feed = no_chunks
                self._send(worker, Cancel(id))
                self.end(call, lost(id, worker, "sent an answer that cannot be read"))

    def fail_all(self, worker: Worker, how: str) -> None:
        for id in list(worker.requests):
            if call := self._calls.get(id):
                self.end(call, lost(id, worker, how))

    def tags(self, worker: Worker) -> list[Hashable]:
        """The tags of its unanswered requests."""
        calls = [self._calls[id] for id in worker.requests if id in self._calls]
        return [call.tag for call in calls if call.tag is not None]

    def close(self) -> None:
        for call in self._calls.values():
            call.answer.cancel()

    def _count(self, call: Call, answer: Answer) -> None:
        if call.cancelled_at:
            self._metrics.cancel.observe(self._now() - call.cancelled_at)
        if isinstance(answer, Finished):
            self._metrics.prompt_tokens += answer.prompt_tokens
            self._metrics.reused_tokens += answer.reused_tokens


def lost(id: int, worker: Worker, how: str) -> Failed:
    return Failed(id, ErrorCode.WORKER_LOST, f"the worker of the binding {worker.binding} {how}")
