"""When is what waits written, and who has waited for too long? With clients in memory."""

import asyncio
import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from gateway.inference.generation import Generation
from gateway.inference.plan import CREDIT
from gateway.inference.state import End
from gateway.observability.metrics import Metrics
from gateway.socketio.encoder import Event, Item, TextChunk
from gateway.socketio.flusher import Desk
from gateway.socketio.send_queue import Outlet
from protocol.messages import Chunk
from tests.support.harness import run


class Connection:
    """A Way to a client that reads when it is told to; `got` is what has reached it."""

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

    def __init__(self, random: Random, desk: Desk, metrics: Metrics) -> None:
        self.random, self.desk, self.metrics = random, desk, metrics
        self.connection = Connection()
        self.outlet = Outlet(self.connection, desk)
        self.generations: list[Generation] = []
        self.call = Call()
        self.gone = False

    @property
    def running(self) -> Generation | None:
        last = self.generations[-1] if self.generations else None
        return last if last and not last.stream.end else None

    def step(self) -> None:
        steps = [self.generate] * 10 + [self.read, self.read, self.stall, self.resume, self.poll]
        steps += [self.ask, self.flush]
        if self.random.random() < 0.1:
            steps += [self.finish, self.cancel, self.fail, self.leave] * 5
        self.random.choice(steps)()

    def generate(self) -> None:
        if not self.running:
            self.generations.append(Generation(self.outlet, self.metrics))
            self.call = Call()
        generation = self.generations[-1]
        for _ in range(min(self.random.choice((1, 1, 1, 40)), self.call.credit)):
            count = min(self.random.choice((1, 1, 3)), self.call.credit)
            self.call.credit -= count
            text = self.random.choice(("a ", "\n", 'é"\\', "\U0001f600", "", "\x1e"))
            generation.feed(self.call, Chunk(1, text, [1] * count, count))  # type: ignore[arg-type]

    def flush(self) -> None:
        self.desk.flush()

    def read(self) -> None:
        self.connection.read()
        self.desk.look_again()
        self.desk.flush()

    def stall(self) -> None:
        self.connection.stalled = True

    def resume(self) -> None:
        self.connection.stalled = False
        self.read()

    def poll(self) -> None:
        self.connection.merges = not self.connection.merges

    def ask(self) -> None:
        self.outlet.event("reply", {"number": self.random.random()})

    def finish(self) -> None:
        if generation := self.running:
            generation.tell(generation.stream.finish(tokens=1))

    def cancel(self) -> None:
        if generation := self.running:
            generation.cancel()

    def fail(self) -> None:
        if generation := self.running:
            generation.interrupt("the test wants it")

    def leave(self) -> None:
        if generation := self.running:
            generation.abandon()
        self.outlet.close()
        self.connection.drop()
        self.gone = True

    def check(self) -> None:
        """What the client saw: generations one after the other, each in order and whole."""
        order = [data["id"] for _, data in self.connection.got if "id" in data]
        assert order == sorted(order, key=[g.stream.id for g in self.generations].index)
        for generation in self.generations:
            self.check_one(generation)

    def check_one(self, generation: Generation) -> None:
        stream = generation.stream
        seen = [(n, d) for n, d in self.connection.got if d.get("id") == stream.id]
        text = "".join(data["chunk"] for name, data in seen if name == "text_chunk")
        ends = [name for name, _ in seen if name != "text_chunk"]
        assert [name for name, _ in seen[len(seen) - len(ends) :]] == ends
        assert stream.text.startswith(text)
        assert all(data["chunk"] for name, data in seen if name == "text_chunk")
        if self.gone or not stream.end:
            return
        assert text == stream.text
        assert (
            ends
            == {
                End.FINISHED: ["text_generated"],
                End.FAILED: ["generation_error"],
                End.CANCELLED: ["generation_canceled", "text_generated"],
            }[stream.end]
        )


def test_a_thousand_schedules_keep_the_order_and_the_single_end() -> None:
    async def scenario() -> None:
        metrics, ends = Metrics(), set[End | None]()
        desk = Desk(0, metrics)
        for seed in range(1000):
            random = Random(seed)
            session = Session(random, desk, metrics)
            for _ in range(random.randrange(10, 120)):
                if not session.gone:
                    session.step()
            ends |= {generation.stream.end for generation in session.generations}
            if not session.gone:
                session.resume()
                session.finish()
                session.read()
                assert not session.outlet.waits
                assert session.call.credit == CREDIT  # all of it has come back
            session.check()
        assert metrics.merged > 100 and ends == {*End, None} - {End.BUSY}
        desk.close()

    run(scenario())


def test_a_chunk_is_written_in_the_turn_in_which_it_came() -> None:
    async def scenario() -> None:
        connection, desk = Connection(), Desk(0, Metrics())
        outlet = Outlet(connection, desk)
        outlet.chunk("g", "a", 1, lambda tokens: None)
        await asyncio.sleep(0)
        assert connection.got
        desk.close()

    run(scenario())


def test_of_what_is_read_together_the_first_is_not_kept_waiting_but_in_a_flood() -> None:
    async def scenario() -> None:
        connection, desk = Connection(), Desk(0, Metrics())
        outlet = Outlet(connection, desk)

        def read(*texts: str) -> list[int]:
            """How many chunks had been written before each of them was read, and at the end."""
            desk.hold()
            written = []
            for text in texts:
                written.append(len(connection.got))
                outlet.chunk("g", text, 1, lambda tokens: None)
            desk.flush()
            return [*written, len(connection.got)]

        assert read("a") == [0, 1]
        assert read("b", "c", "d") == [1, 2, 2, 4]
        assert read("e", "f") == [4, 4, 6], "many at once: one write for all of them"
        assert read("g") == [6, 7]
        assert read("h", "i") == [7, 8, 9], "that was no flood"
        desk.close()

    run(scenario())


def test_who_reads_slowly_is_kept_and_who_reads_nothing_is_dropped() -> None:
    async def scenario() -> None:
        metrics, connection = Metrics(), Connection()
        desk = Desk(0.2, metrics)
        outlet = Outlet(connection, desk)
        connection.stalled = True
        for number in range(40):
            outlet.event("reply", {"number": number, "text": "x" * 2000})
        while len(connection.got) < 40:
            await asyncio.sleep(0.02)
            connection.read()
            assert not connection.dropped
        for _ in range(2):
            outlet.event("reply", {})
        async with asyncio.timeout(10):
            while not connection.dropped:
                await asyncio.sleep(0.01)
        assert metrics.dropped == 1
        await desk.drained()
        desk.close()

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
