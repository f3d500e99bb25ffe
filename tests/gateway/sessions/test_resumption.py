"""What is kept for clients that are away stays within its limits, and a running answer stays."""

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.inference.generation import Generation
from gateway.inference.outcomes import Gone
from gateway.observability.metrics import Metrics
from gateway.scheduling.quotas import Quota, RateLimit
from gateway.security.tokens_file import TokenHolder
from gateway.sessions import resumption, retention
from gateway.sessions.registry import Sessions
from gateway.sessions.session import Session
from protocol import messages
from tests.gateway.sessions.test_registry import Connection
from tests.support.harness import run

ANSWER = "x" * 100_000


class Server:
    def __init__(self) -> None:
        self.metrics = Metrics()
        self.sessions = Sessions(60.0, None, self.metrics)

    @property
    def kept(self) -> Any:
        return self.sessions.resumption.retention

    async def client(self, holder: str = "", token: str = "", address: str = "") -> Session:
        new = Session(
            str(len(self.sessions.connected)), Connection(), Quota(TokenHolder(holder, 0, 0)),
            RateLimit(0), address, resumable=True,
        )  # fmt: skip
        return await self.sessions.arrive(new, token)

    def begin(self, session: Session) -> Generation:
        session.running = Generation(session.connection, self.metrics)
        return session.running

    def finish(self, session: Session) -> None:
        generation = session.running
        assert generation
        generation.end(generation.state.finish(messages.Finished(1, "eos", 1)))
        generation.release()
        self.sessions.finished(session, generation)

    async def answered(self, holder: str = "", text: str = ANSWER) -> Session:
        session = await self.client(holder)
        self.begin(session).state.take(text, [7] * 1000, 1000)
        self.finish(session)
        return session


@asynccontextmanager
async def served() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.sessions.close()
    assert server.kept.bytes == server.kept.away == 0 or server.sessions.connected


def test_a_busy_day_of_disconnects_ends_no_running_answer() -> None:
    async def scenario() -> None:
        async with served() as server:
            absent = await server.client()
            generation = server.begin(absent)
            server.sessions.leave(absent)
            for number in range(1500):  # 25 a second
                other = await (server.answered(text="x") if number % 2 else server.client())
                server.sessions.leave(other)
            assert len(server.sessions.resumption.away) == server.kept.away == 1000
            back = await server.client(token=absent.token)
            assert back is absent and back.unfinished("") is generation
            assert set(server.metrics.evicted) == {"nothing"}

    run(scenario())


def test_answers_of_the_absent_have_one_limit_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention.Retention.__init__, "__defaults__", (1000, 2_000_000))

    async def scenario() -> None:
        async with served() as server:
            alice = await server.answered("alice")
            server.sessions.leave(alice)
            # An ended answer is there once, and without its tokens.
            assert len(ANSWER) < server.kept.away_bytes < 1.1 * len(ANSWER)
            for _ in range(40):
                server.sessions.leave(await server.answered("mallory"))
                assert server.kept.away_bytes <= 2_000_000
            assert set(server.metrics.evicted) == {"ended"}
            assert alice in server.sessions.resumption.away

    run(scenario())


def test_connected_sessions_count_and_the_largest_loses_its_oldest_discussion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention.Retention.__init__, "__defaults__", (1000, 1_000_000))

    async def scenario() -> None:
        async with served() as server:
            alice = await server.answered("alice")
            mallory = await server.client("mallory")
            for number in range(16):
                mallory.discussion(str(number)).add("what?", ANSWER[: 90_000 + number])
                server.begin(mallory)
                server.finish(mallory)
                assert server.kept.bytes <= 1_000_000
            assert list(mallory.discussions) == [str(number) for number in range(7, 16)]
            assert alice.last_generation and alice.last_generation.state.text == ANSWER

    run(scenario())


def test_a_running_answer_that_grows_while_its_client_is_away_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention.Retention.__init__, "__defaults__", (1000, 150_000))
    monkeypatch.setattr(resumption, "MEASURE_PERIOD", 0.01)

    async def scenario() -> None:
        async with served() as server:
            absent = [await server.client() for _ in range(2)]
            running = [server.begin(each) for each in absent]
            for session in absent:
                server.sessions.leave(session)
            async with asyncio.timeout(5):
                for generation in running:
                    generation.state.take(ANSWER, [])
                await running[0].ended
            assert isinstance(running[0].state.outcome, Gone)
            assert not running[1].state.outcome
            assert server.metrics.evicted == {"running": 1}

    run(scenario())


def test_without_tokens_the_share_is_that_of_the_address() -> None:
    async def scenario() -> None:
        async with served() as server:
            owners = [(await server.client(address=each)).owner for each in ("::1", "10.0.0.1")]
            assert owners == ["address ::1", "address 10.0.0.1"]
            assert (await server.client("alice", address="::1")).owner == "alice"

    run(scenario())


def test_nothing_of_the_ended_connection_is_kept_for_an_absent_session() -> None:
    async def scenario() -> None:
        async with served() as server:
            absent = await server.client()
            generation = server.begin(absent)
            connection = weakref.ref(absent.connection)
            server.sessions.leave(absent)
            assert connection() is None and not generation.state.outcome

    run(scenario())
