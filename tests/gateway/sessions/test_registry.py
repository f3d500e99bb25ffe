"""Sessions that are connected or away; closing ends what runs for those that are away."""

import asyncio
from typing import Any

from gateway.inference.generation import Generation
from gateway.inference.listener import OnSent
from gateway.inference.outcomes import Gone, Outcome
from gateway.observability.metrics import Metrics
from gateway.scheduling.notices import Notice, Paused
from gateway.scheduling.quotas import Quota, RateLimit
from gateway.security.tokens_file import TokenHolder
from gateway.sessions.registry import Sessions
from gateway.sessions.session import Session
from tests.support.harness import run


class Connection:
    def __init__(self, *, wants_notices: bool = False) -> None:
        self.wants_notices = wants_notices
        self.notices: list[tuple[str, Notice]] = []

    def chunk(self, stream: str, text: str, tokens: int, taken: OnSent) -> None: ...

    def ended(self, stream: str, outcome: Outcome) -> None: ...

    def notice(self, stream: str, notice: Notice) -> None:
        self.notices.append((stream, notice))

    def event(self, name: str, data: dict[str, Any]) -> None: ...

    def drop(self, why: str) -> None: ...

    def close(self) -> None: ...


def test_closing_waits_until_what_ran_for_a_disconnected_client_has_ended() -> None:
    async def scenario() -> None:
        sessions = Sessions(60.0, None, Metrics())
        connection = Connection()
        quota = Quota(TokenHolder("", 0, 0))
        fresh = Session("sid", connection, quota, RateLimit(0), resumable=True)
        session = await sessions.arrive(fresh, "")
        generation = session.running = Generation(connection, Metrics())
        steps: list[str] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(20):  # as many turns of the loop as its clean-up may take
                    await asyncio.sleep(0)
                steps.append("ended")

        generation.task = asyncio.create_task(work())
        await asyncio.sleep(0)
        sessions.leave(session)
        assert sessions.running == 1 and not generation.state.outcome
        await sessions.close()
        assert steps == ["ended"] and isinstance(generation.state.outcome, Gone)
        assert not sessions.running and not sessions.resumption.away

    run(scenario())


def test_a_session_hears_notices_by_the_connection_that_asked_for_them() -> None:
    async def scenario() -> None:
        sessions, quota = Sessions(60.0, None, Metrics()), Quota(TokenHolder("", 0, 0))

        async def arrive(sid: str, token: str, *, asks: bool) -> tuple[Session, Connection]:
            connection = Connection(wants_notices=asks)
            fresh = Session(sid, connection, quota, RateLimit(0), resumable=True)
            return await sessions.arrive(fresh, token), connection

        session, first = await arrive("1", "", asks=True)
        notify = session.notify
        assert notify
        notify(Paused("one"))
        sessions.leave(session)
        assert session.notify is None
        notify(Paused("away"))
        again, second = await arrive("2", session.token, asks=True)
        assert again is session and session.notify
        notify(Paused("two"))
        assert first.notices == [("", Paused("one"))] and second.notices == [("", Paused("two"))]
        again, _ = await arrive("3", session.token, asks=False)
        assert again is session and session.notify is None
        await sessions.close()

    run(scenario())
