"""What waits is written in its turn, and a client that stopped reading is dropped."""

import asyncio
import json
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.inference.generation import Generation
from gateway.inference.outcomes import Cancelled, Failed, Finished, Outcome
from gateway.inference.plan import CREDIT
from gateway.observability.metrics import Metrics
from gateway.scheduling.notices import Queued
from gateway.socketio.encoder import Event, Item, TextChunk
from gateway.socketio.flusher import Flusher
from gateway.socketio.send_queue import SendQueue
from protocol import messages
from protocol.messages import Chunk
from tests.support.harness import run


class Connection:
    """A Transport to a client that reads when it is told to; `got` is what has reached it."""

    def __init__(self) -> None:
        self.merges = False
        self.stalled = False
        self.dropped = False
        self.under_way: list[Item] = []
        self.got: list[tuple[str, dict[str, Any]]] = []

    def room(self) -> int:
        return 0 if self.under_way else 2000

    def settled(self) -> bool:
        return not self.under_way

    def backlog(self) -> int:
        return sum(item.size for item in self.under_way)

    def write(self, items: Sequence[Item]) -> None:
        assert not self.dropped
        self.under_way += items
        if not self.stalled:
            self.read()

    def read(self) -> None:
        for item in self.under_way:
            name, data = json.loads(item.packet[2:])
            assert name == item.name and data == item.data
            self.got.append((name, data))
        self.under_way.clear()

    def drop(self) -> None:
        self.dropped = True

    def close(self) -> None:
        self.under_way.clear()


class Call:
    """A worker's request: sends as far as its credit goes."""

    def __init__(self) -> None:
        self.credit = CREDIT

    def grant(self, tokens: int) -> None:
        self.credit += tokens
        assert self.credit <= CREDIT


class Session:
    """One client and its generations, driven at random."""

    def __init__(self, random: Random, flusher: Flusher, metrics: Metrics) -> None:
        self.random, self.flusher, self.metrics = random, flusher, metrics
        self.connection = Connection()
        self.queue = SendQueue(self.connection, flusher)
        self.generations: list[Generation] = []
        self.call = Call()
        self.gone = False

    @property
    def running(self) -> Generation | None:
        last = self.generations[-1] if self.generations else None
        return last if last and not last.state.outcome else None

    def step(self) -> None:
        steps = [self.generate] * 10 + [self.read, self.read, self.stall, self.resume, self.poll]
        steps += [self.ask, self.flush]
        if self.random.random() < 0.1:
            steps += [self.finish, self.cancel, self.fail, self.leave] * 5
        self.random.choice(steps)()

    def generate(self) -> None:
        if not self.running:
            self.generations.append(Generation(self.queue, self.metrics))
            self.call = Call()
            turn, call = SimpleNamespace(unread_since=0.0, began=0.0), self.call
            self.generations[-1].begin_turn(turn, call)  # type: ignore[arg-type]
        generation = self.generations[-1]
        for _ in range(min(self.random.choice((1, 1, 1, 40)), self.call.credit)):
            count = min(self.random.choice((1, 1, 3)), self.call.credit)
            self.call.credit -= count
            text = self.random.choice(("a ", "\n", 'é"\\', "\U0001f600", "", "\x1e"))
            generation.feed(self.call, Chunk(1, text, [1] * count, count))  # type: ignore[arg-type]

    def flush(self) -> None:
        self.flusher.flush()

    def read(self) -> None:
        self.connection.read()
        self.flusher.room_freed()
        self.flusher.flush()

    def stall(self) -> None:
        self.connection.stalled = True

    def resume(self) -> None:
        self.connection.stalled = False
        self.read()

    def poll(self) -> None:
        self.connection.merges = not self.connection.merges

    def ask(self) -> None:
        self.queue.event("reply", {"number": self.random.random()})

    def finish(self) -> None:
        if generation := self.running:
            generation.end(generation.state.finish(messages.Finished(1, "stop", 1)))

    def cancel(self) -> None:
        if generation := self.running:
            generation.cancel()

    def fail(self) -> None:
        if generation := self.running:
            generation.interrupt("the test wants it")

    def leave(self) -> None:
        if generation := self.running:
            generation.abandon()
        self.queue.close()
        self.connection.drop()
        self.gone = True

    def check(self) -> None:
        """What the client saw: generations one after the other, each in order and whole."""
        order = [data["id"] for _, data in self.connection.got if "id" in data]
        assert order == sorted(order, key=[g.state.id for g in self.generations].index)
        for generation in self.generations:
            self.check_one(generation)

    def check_one(self, generation: Generation) -> None:
        state = generation.state
        seen = [(n, d) for n, d in self.connection.got if d.get("id") == state.id]
        text = "".join(data["chunk"] for name, data in seen if name == "text_chunk")
        ends = [name for name, _ in seen if name != "text_chunk"]
        assert [name for name, _ in seen[len(seen) - len(ends) :]] == ends
        assert state.text.startswith(text)
        assert all(data["chunk"] for name, data in seen if name == "text_chunk")
        if self.gone or not state.outcome:
            return
        assert text == state.text
        assert (
            ends
            == {
                Finished: ["text_generated"],
                Failed: ["generation_error"],
                Cancelled: ["generation_canceled", "text_generated"],
            }[type(state.outcome)]
        )


def _label(outcome: Outcome | None) -> str:
    return outcome.label if outcome else ""


def test_a_thousand_schedules_keep_the_order_and_the_single_end() -> None:
    async def scenario() -> None:
        metrics, ends = Metrics(), set[str]()
        flusher = Flusher(0, metrics)
        for seed in range(1000):
            random = Random(seed)
            session = Session(random, flusher, metrics)
            for _ in range(random.randrange(10, 120)):
                if not session.gone:
                    session.step()
            ends |= {_label(generation.state.outcome) for generation in session.generations}
            if not session.gone:
                session.resume()
                session.finish()
                session.read()
                assert not session.queue.unsettled
                assert session.call.credit == CREDIT  # all of it has come back
            session.check()
        assert metrics.merged > 100 and ends == {"finished", "failed", "cancelled", "gone", ""}
        flusher.close()

    run(scenario())


def test_a_chunk_is_written_in_the_turn_in_which_it_came() -> None:
    async def scenario() -> None:
        connection, flusher = Connection(), Flusher(0, Metrics())
        queue = SendQueue(connection, flusher)
        queue.chunk("g", "a", 1, lambda tokens: None)
        await asyncio.sleep(0)
        assert connection.got
        flusher.close()

    run(scenario())


def test_of_what_is_read_together_the_first_is_not_kept_waiting_but_in_a_flood() -> None:
    async def scenario() -> None:
        connection, flusher = Connection(), Flusher(0, Metrics())
        queue = SendQueue(connection, flusher)

        def read(*texts: str) -> list[int]:
            """How many chunks had been written before each of them was read, and at the end."""
            flusher.hold()
            written = []
            for text in texts:
                written.append(len(connection.got))
                queue.chunk("g", text, 1, lambda tokens: None)
            flusher.flush()
            return [*written, len(connection.got)]

        assert read("a") == [0, 1]
        assert read("b", "c", "d") == [1, 2, 2, 4]
        assert read("e", "f") == [4, 4, 6], "many at once: one write for all of them"
        assert read("g") == [6, 7]
        assert read("h", "i") == [7, 8, 9], "that was no flood"
        flusher.close()

    run(scenario())


def test_who_reads_slowly_is_kept_and_who_reads_nothing_is_dropped() -> None:
    async def scenario() -> None:
        metrics, connection = Metrics(), Connection()
        flusher = Flusher(0.2, metrics)
        queue = SendQueue(connection, flusher)
        connection.stalled = True
        for number in range(40):
            queue.event("reply", {"number": number, "text": "x" * 2000})
        while len(connection.got) < 40:
            await asyncio.sleep(0.02)
            connection.read()
            assert not connection.dropped
        for _ in range(2):
            queue.event("reply", {})
        async with asyncio.timeout(10):
            while not connection.dropped:
                await asyncio.sleep(0.01)
        assert metrics.dropped == 1
        await flusher.drained()
        flusher.close()

    run(scenario())


@pytest.mark.parametrize("text", ["a", 'q"\\', "\x00\x1e\n", "é…\U0001f600", "</script>"])
def test_a_chunk_reads_to_the_byte_as_python_socketio_would_write_it(text: str) -> None:
    from engineio import packet as engineio_packet
    from socketio import packet as socketio_packet

    chunk = TextChunk("0123456789abcdef", text, 1, lambda tokens: None)
    for item in (chunk, Event("tokenized", {"tokens": [1, 2], "text": text})):
        inner = socketio_packet.Packet(
            socketio_packet.EVENT, namespace="/", data=[item.name, item.data]
        ).encode()
        assert item.packet == engineio_packet.Packet(engineio_packet.MESSAGE, inner).encode()


def test_who_reads_no_notices_is_kept_and_who_reads_no_replies_behind_them_is_dropped() -> None:
    async def scenario() -> None:
        metrics, connection = Metrics(), Connection()
        flusher = Flusher(0.1, metrics)
        queue = SendQueue(connection, flusher, notices=True)
        connection.stalled = True
        for position in range(20, 0, -1):  # for three times as long as it may stall
            queue.notice("a", Queued(position, 20, "all slots are in use"))
            await asyncio.sleep(0.015)
        assert queue.waiting == 1 and queue.unsettled and not connection.dropped
        queue.event("reply", {})
        async with asyncio.timeout(10):
            while not connection.dropped:
                await asyncio.sleep(0.01)
        flusher.close()

    run(scenario())
