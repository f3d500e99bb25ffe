"""A client's send queue: ordered, bounded, with flow-control credit for the worker.

All chunks, ends and replies to a client pass through its queue, which keeps their order.
Waiting items are written together as soon as the connection has room. The queue is bounded:
the worker gets credit only for text that was sent, so the generation of a client that does
not read pauses; a client that sends requests without reading the replies is dropped.
Notices are lost when the queue is full, and never the reason for a drop.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.inference.listener import OnSent
from gateway.inference.outcomes import Outcome
from gateway.scheduling.notices import Notice
from gateway.socketio import replies
from gateway.socketio.encoder import Event, Item, NoticeEvent, TextChunk

log = logging.getLogger(__name__)

MERGE_BEYOND = 32
"""Waiting items beyond which a new chunk is merged into the one before it."""
MAX_EVENTS = 1024
MAX_BYTES = 4 * 2**20
"""Limits of waiting replies; beyond them the client is dropped."""
MAX_NOTICES = 64
"""Waiting notices; beyond them the next one is lost."""


class Transport(Protocol):
    """The connection to one client. Nothing here waits."""

    @property
    def merges(self) -> bool:
        """Consecutive chunks should be merged."""

    def room(self) -> int:
        """Bytes that may be written now. The last item may exceed it."""

    def settled(self) -> bool:
        """What was written has been sent, or nearly: the worker may continue."""

    def backlog(self) -> int:
        """Bytes, or packets, that were written and not sent."""

    def write(self, items: Sequence[Item]) -> None:
        """Send them, in this order."""

    def ask(self, answered: Callable[[], None]) -> bool:
        """See `Listener.check`."""

    def drop(self) -> None:
        """End the connection at once."""

    def close(self) -> None:
        """The connection has ended."""


class Counts(Protocol):
    """Metrics of all send queues."""

    chunks: int
    merged: int
    dropped: int


class FlushScheduler(Protocol):
    """Calls `SendQueue.flush` soon."""

    @property
    def counts(self) -> Counts: ...

    def schedule(self, queue: "SendQueue") -> None:
        """Flush it in this turn of the event loop."""

    def await_room(self, queue: "SendQueue") -> None:
        """Flush it when there may be room."""


class SendQueue:
    """Owned by a session; `close` drops waiting items. Use it from the event loop's thread
    only."""

    def __init__(
        self, transport: Transport, flusher: FlushScheduler, *, notices: bool = False
    ) -> None:
        self.wants_notices = notices
        """See `Listener.wants_notices`."""
        self.scheduled = False
        """The flusher will call `flush` in this turn of the event loop."""
        self._full = False  # unsettled after the last flush
        self.closed = False
        self.writes = 0
        """Number of writes, by which the flusher sees progress."""
        self._transport = transport
        self._flusher = flusher
        self._counts = flusher.counts
        self._waiting: deque[Item] = deque()
        self._events = 0
        self._bytes = 0  # of the events
        self._owed: list[tuple[OnSent, int]] = []
        self._notices: dict[tuple[str, str], NoticeEvent] = {}  # those that wait, by their keys

    def event(self, name: str, data: dict[str, Any]) -> None:
        """Send an event, at once if there is room. Raise ValueError as `encoder.Event` does."""
        item = Event(name, data)
        if self.closed:
            return
        if self._overfull():
            return self.drop(f"does not read: {self._events} replies wait for it")
        self._waiting.append(item)
        self._events += 1
        self._bytes += item.size
        self.flush()

    def chunk(self, stream: str, text: str, tokens: int, taken: OnSent) -> None:
        """See `Listener.chunk`."""
        if self.closed:
            return
        item = TextChunk(stream, text, tokens, taken)
        if self._full and len(self._waiting) >= MERGE_BEYOND and self._joins_last(item):
            return
        self._waiting.append(item)
        if not self.scheduled:
            self._flusher.schedule(self)

    def ended(self, stream: str, outcome: Outcome) -> None:
        for name, data in replies.outcome_events(stream, outcome):
            self.event(name, data)

    def notice(self, stream: str, notice: Notice) -> None:
        """See `Listener.notice`. The notice takes the place of a waiting one of the same kind, but
        at the end of the queue."""
        if not self.wants_notices or self.closed or self._overfull():
            return
        item = NoticeEvent(stream, *replies.notice_event(stream, notice))
        if older := self._notices.pop(item.key, None):
            self._waiting.remove(older)
        elif len(self._notices) >= MAX_NOTICES:
            return
        self._notices[item.key] = item
        self._waiting.append(item)
        if not self.scheduled:
            self._flusher.schedule(self)

    def check(self, answered: Callable[[], None]) -> bool:
        """See `Listener.check`."""
        return not self.closed and self._transport.ask(answered)

    @property
    def waiting(self) -> int:
        """Items that have not been written."""
        return len(self._waiting)

    @property
    def unsettled(self) -> bool:
        """Items wait, or written text has no credit yet."""
        return bool(self._waiting or self._owed)

    @property
    def must_be_read(self) -> bool:
        """Something besides notices waits."""
        return bool(self._owed) or len(self._waiting) > len(self._notices)

    def backlog(self) -> int:
        """See `Transport.backlog`."""
        return self._transport.backlog()

    def flush(self) -> None:
        """Write what there is room for, and give credit for what was sent."""
        self.scheduled = False
        transport = self._transport
        while self._waiting and (room := transport.room()) > 0:
            transport.write(self._take(room, transport.merges))
            self.writes += 1
        if self._owed and transport.settled():
            owed, self._owed = self._owed, []
            for taken, tokens in owed:
                taken(tokens)
        self._full = self.unsettled
        if self._full:
            self._flusher.await_room(self)

    def drop(self, why: str) -> None:
        """End the connection; its session is left when that is done."""
        log.warning("a client was dropped: it %s", why)
        self._counts.dropped += 1
        self._forget()
        self._transport.drop()

    def close(self) -> None:
        self._forget()
        self._transport.close()

    def _forget(self) -> None:
        self.closed = True
        self._waiting.clear()
        self._owed.clear()
        self._notices.clear()

    def _overfull(self) -> bool:
        return self._events >= MAX_EVENTS or self._bytes + self._transport.backlog() > MAX_BYTES

    def _joins_last(self, item: TextChunk) -> bool:
        last = self._waiting[-1]
        if not isinstance(last, TextChunk) or not last.merge(item):
            return False
        self._counts.merged += 1
        return True

    def _take(self, room: int, merges: bool) -> list[Item]:
        taken: list[Item] = []
        while self._waiting and room > 0:
            item = self._waiting.popleft()
            room -= item.size
            if isinstance(item, Event):
                if isinstance(item, NoticeEvent):
                    del self._notices[item.key]
                else:
                    self._events -= 1
                    self._bytes -= item.size
            else:
                self._owed.append((item.taken, item.tokens))
                if merges and taken:
                    last = taken[-1]
                    if isinstance(last, TextChunk) and last.merge(item):
                        self._counts.merged += 1
                        continue
                self._counts.chunks += 1
            taken.append(item)
        return taken
