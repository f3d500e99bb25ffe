"""All sessions: connected ones, and those whose clients are away and may come back."""

import asyncio
import logging

from gateway.config.settings import Settings
from gateway.inference.generation import Generation
from gateway.observability.metrics import Metrics
from gateway.sessions.discussion import MAX_CHARACTERS, MAX_EXCHANGES
from gateway.sessions.resumption import Resumption
from gateway.sessions.session import NoConnection, Session
from gateway.storage.discussions import DiscussionStore

log = logging.getLogger(__name__)
STORED_DISCUSSIONS = 4
"""So many full ones of each session are stored."""


class Sessions:
    def __init__(
        self, resume_window: float, store: DiscussionStore | None, metrics: Metrics
    ) -> None:
        self.connected: dict[str, Session] = {}
        """By the client's sid."""
        self.resumption = Resumption(resume_window, store, self.connected, metrics)
        self.draining = False
        """The server stops: no new work."""

    async def arrive(self, new: Session, token: str) -> Session:
        """A client has connected with this session token, or ""."""
        session = self.connected[new.sid] = await self.resumption.arrive(new, token)
        return session

    def leave(self, session: Session, *, keep: bool = True) -> None:
        """Its connection has ended. Without `keep` its client cannot come back."""
        del self.connected[session.sid]
        if not keep or not self.resumption.leave(session):
            self.resumption.forget(session)
            if session.running:
                session.running.abandon()
        for handler in session.handlers - {asyncio.current_task()}:
            handler.cancel()
        session.connection.close()
        session.connection = NoConnection()

    def finished(self, session: Session, generation: Generation) -> None:
        """Its generation has ended: the session may start the next."""
        if session.running is generation:
            session.running = None
        if session.resumable:
            session.last_generation = generation
            self.resumption.save(session)
        self.resumption.account(session)

    @property
    def running(self) -> int:
        """Generations that run or wait."""
        return sum(session.running is not None for session in self._all())

    async def drain(self, limit: float) -> None:
        """Refuse new generations; interrupt those that have not ended after `limit` seconds."""
        self.draining = True
        running = [s.running.ended for s in self._all() if s.running]
        if running:
            log.info("waiting up to %g s for %d generation(s)", limit, len(running))
            await asyncio.wait(running, timeout=limit)
        for session in self.connected.values():
            if session.running:
                session.running.interrupt("the server is stopping")

    async def close(self) -> None:
        """No client can come back to this gateway any more: abandon the generations of those that
        are away, and return when these have ended and everything is saved."""
        away = [session.running for session in self.resumption.away if session.running]
        await self.resumption.close()
        tasks = [generation.task for generation in away if generation.task]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _all(self) -> list[Session]:
        return [*self.connected.values(), *self.resumption.away]


def discussion_store(settings: Settings) -> DiscussionStore | None:
    """None when discussions are not stored."""
    if not settings.keep_discussions:
        return None
    return DiscussionStore(
        settings.home / "discussions.sqlite", MAX_EXCHANGES, STORED_DISCUSSIONS * MAX_CHARACTERS
    )
