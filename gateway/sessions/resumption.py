"""Resume sessions: a reconnecting client brings its token, and gets what it missed.

With the token it gets its session again: selection, discussions, and the text that was
generated meanwhile. A generation continues without its client only if that client sent
`session` in its auth data, even an empty one: it may come back.
"""

import asyncio
import logging
import secrets

from gateway.observability.metrics import Metrics
from gateway.sessions.retention import Kind, Retention
from gateway.sessions.session import Session
from gateway.storage.discussions import DiscussionStore, SavedSelection
from protocol.logs import RateLimitedLog

log = logging.getLogger(__name__)

MEASURE_PERIOD = 1.0
"""Seconds. Answers grow while their clients are away, and are not measured with each chunk."""
LOST = {
    Kind.ENDED: "a session whose client is away is forgotten",
    Kind.RUNNING: "an answer whose client is away is ended",
    Kind.CONNECTED: "a connected session loses its oldest discussion",
}


class Resumption:
    """Use it from the event loop's thread only."""

    def __init__(
        self,
        window: float,
        store: DiscussionStore | None,
        connected: dict[str, Session],
        metrics: Metrics,
        retention: Retention | None = None,
    ) -> None:
        """`window`: seconds for which a session is kept without a connection; 0 means not at all.
        `connected`: the sessions with a client, by its sid."""
        self.retention = retention or Retention()
        self._metrics = metrics
        self._limited_log = RateLimitedLog(log)
        self._measuring: asyncio.TimerHandle | None = None
        self._connected = connected
        self._window = window
        self._store = store
        self._by_token: dict[str, Session] = {}
        self._away: dict[str, asyncio.TimerHandle] = {}

    @property
    def away(self) -> list[Session]:
        """Sessions whose clients are disconnected and may come back."""
        return [self._by_token[token] for token in self._away]

    async def arrive(self, new: Session, token: str) -> Session:
        """The session of this connection: the one with this token, or `new`."""
        old = self._by_token.get(token)
        if old and old.quota.holder.name == new.quota.holder.name:
            session = self._resume(old, new)
        else:
            session = new
            if token and not old and await self._restore(new, token):
                new.resumed = True
            else:
                token = secrets.token_urlsafe(24)
            new.token = token
            self._by_token[token] = new
        if self._store and session.resumable:
            self._store.arrived(session.token)
        self.account(session)
        return session

    def leave(self, session: Session) -> bool:
        """Its connection has ended. Return whether the session is kept."""
        if not self._window or self._by_token.get(session.token) is not session:
            return False
        if session.running and session.resumable:
            session.running.detach()
        elif session.running:
            session.running.abandon()
        loop = asyncio.get_running_loop()
        self._away[session.token] = loop.call_later(self._window, self._expire, session.token)
        if self._store and session.resumable:
            self._store.left(session.token)
        self.account(session)
        return True

    def account(self, session: Session) -> None:
        """What is kept for it has changed: count it anew, and evict what is too much."""
        if self._by_token.get(session.token) is session:
            self._keep(session)
            self._evict()

    def forget(self, session: Session) -> None:
        """The session is not kept."""
        if self._by_token.get(session.token) is session:
            del self._by_token[session.token]
            self.retention.forget(session.token)
            if self._store and session.resumable:
                self._store.left(session.token)

    async def close(self) -> None:
        """Abandon what runs for sessions that are away, and wait until everything is saved."""
        store, self._store = self._store, None  # so the next gateway reports these as lost
        if self._measuring:
            self._measuring.cancel()
        for token in list(self._away):
            self._expire(token)
        if store:
            await asyncio.to_thread(store.close)

    def save(self, session: Session) -> None:
        """Save its selection, if it has changed."""
        if self._store is None or not session.resumable:
            return
        running = session.running
        id = running.state.id if running and not running.state.outcome else ""
        selected = SavedSelection(session.binding, session.model, session.active, id)
        if selected != session.saved_selection:
            session.saved_selection = selected
            self._store.save_selection(session.token, session.quota.holder.name, selected)

    def save_exchange(self, session: Session, personality: str, prompt: str, answer: str) -> None:
        """Save an exchange of a discussion."""
        if self._store is not None and session.resumable:
            self._store.add_exchange(session.token, (personality, prompt, answer))

    def _resume(self, old: Session, new: Session) -> Session:
        if timer := self._away.pop(old.token, None):
            timer.cancel()
        else:  # two connections: the newer one has the session
            self._connected.pop(old.sid, None)
            if old.running:
                old.running.detach()
            old.connection.drop("came back on another connection")
        old.resumed = True
        old.resumable |= new.resumable
        old.sid, old.connection = new.sid, new.connection
        old.rate_limit = new.rate_limit
        old.quota = new.quota  # its limits may have changed
        old.address = new.address
        return old

    async def _restore(self, new: Session, token: str) -> bool:
        """Restore a session of an earlier gateway from the store. Return whether it was there."""
        if self._store is None:
            return False
        found = await self._store.find(token, new.quota.holder.name)
        if found is None or token in self._by_token:
            return False
        selected, exchanges = found
        new.binding, new.model, new.active = selected.binding, selected.model, selected.active
        new.lost_generation = selected.running
        for personality, prompt, answer in exchanges:
            new.discussion(personality).add(prompt, answer)
        return True

    def _keep(self, session: Session) -> None:
        kept = session.kept(away=session.token in self._away)
        self.retention.keep(session.token, kept)
        if kept.kind == Kind.RUNNING and not self._measuring:
            loop = asyncio.get_running_loop()
            self._measuring = loop.call_later(MEASURE_PERIOD, self._measure)

    def _measure(self) -> None:
        self._measuring = None
        for session in self.away:
            if session.running:
                self._keep(session)
        self._evict()

    def _evict(self) -> None:
        while excess := self.retention.excess():
            token, kind = excess
            self._metrics.evicted[kind] += 1
            if kind == Kind.CONNECTED:
                session = self._by_token[token]
                session.shorten()
                self._keep(session)
            else:
                self._expire(token)
            if kind != Kind.NOTHING:
                self._limited_log.warning("no room for all that is kept: %s", LOST[kind])

    def _expire(self, token: str) -> None:
        self._away.pop(token).cancel()
        self.retention.forget(token)
        session = self._by_token.pop(token)
        if session.running:
            session.running.abandon()
        log.debug("session %s is forgotten", session.sid)
