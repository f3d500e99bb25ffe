"""Resume sessions: a reconnecting client brings its token, and gets what it missed.

A client that connects with a token is who it was: selection and discussions are there
again, and what was generated meanwhile. Only a client that says that it may come back
keeps its generation running when it disconnects.
"""

import asyncio
import logging
import secrets

from gateway.sessions.session import Session
from gateway.storage.discussions import DiscussionStore, SavedSelection

log = logging.getLogger(__name__)

MAX_AWAY = 1000
"""Sessions without a client that are kept; the one that left first goes first."""


class Resumption:
    """Only for the event loop's thread."""

    def __init__(
        self, window: float, store: DiscussionStore | None, connected: dict[str, Session]
    ) -> None:
        """`window` is how many seconds a session outlives its connection; 0 is not at all.
        `connected` are the sessions that have a client, by its sid."""
        self._connected = connected
        self._window = window
        self._store = store
        self._known: dict[str, Session] = {}
        self._away: dict[str, asyncio.TimerHandle] = {}

    @property
    def away(self) -> list[Session]:
        """Sessions whose clients are disconnected and may come back."""
        return [self._known[token] for token in self._away]

    async def arrive(self, fresh: Session, token: str) -> Session:
        """The session of this connection: `fresh`, or the one that is known by the token."""
        known = self._known.get(token)
        if known and known.quota.holder.name == fresh.quota.holder.name:
            return self._resume(known, fresh)
        if token and not known and await self._restore(fresh, token):
            fresh.resumed = True
        else:
            token = secrets.token_urlsafe(24)
        fresh.token = token
        self._known[token] = fresh
        return fresh

    def leave(self, session: Session) -> bool:
        """Its connection has ended; whether it is kept, with what runs for it."""
        if not self._window or self._known.get(session.token) is not session:
            return False
        if session.running and session.resumable:
            session.running.detach()
        elif session.running:
            session.running.abandon()
        loop = asyncio.get_running_loop()
        self._away[session.token] = loop.call_later(self._window, self._expire, session.token)
        while len(self._away) > MAX_AWAY:
            self._expire(next(iter(self._away)))
        return True

    def forget(self, session: Session) -> None:
        """It will not be kept."""
        if self._known.get(session.token) is session:
            del self._known[session.token]

    async def close(self) -> None:
        """Nobody will come back to this gateway; what is to be saved, is."""
        store, self._store = self._store, None  # what runs for the absent is lost for them
        for token in list(self._away):
            self._expire(token)
        if store:
            await asyncio.to_thread(store.close)

    def save(self, session: Session) -> None:
        """Its selection may have changed."""
        if self._store is None or not session.resumable:
            return
        running = session.running
        id = running.state.id if running and not running.state.outcome else ""
        selected = SavedSelection(session.binding, session.model, session.active, id)
        if selected != session.saved:
            session.saved = selected
            self._store.save_selection(session.token, session.quota.holder.name, selected)

    def save_exchange(self, session: Session, personality: str, prompt: str, answer: str) -> None:
        """It was added to a discussion."""
        if self._store is not None and session.resumable:
            self._store.add_exchange(session.token, (personality, prompt, answer))

    def _resume(self, known: Session, fresh: Session) -> Session:
        if timer := self._away.pop(known.token, None):
            timer.cancel()
        else:  # one of the two connections is dead, or soon will be: not the newer one
            self._connected.pop(known.sid, None)
            if known.running:
                known.running.detach()
            known.connection.drop("came back on another connection")
        known.resumed = True
        known.resumable |= fresh.resumable
        known.sid, known.connection = fresh.sid, fresh.connection
        known.rate_limit = fresh.rate_limit
        known.quota = fresh.quota  # whose limits may be others by now
        return known

    async def _restore(self, fresh: Session, token: str) -> bool:
        """From the store: an earlier gateway had this session."""
        if self._store is None:
            return False
        found = await self._store.find(token, fresh.quota.holder.name)
        if found is None or token in self._known:
            return False
        selected, exchanges = found
        fresh.binding, fresh.model, fresh.active = selected.binding, selected.model, selected.active
        fresh.lost = selected.running
        for personality, prompt, answer in exchanges:
            fresh.discussion(personality).add(prompt, answer)
        return True

    def _expire(self, token: str) -> None:
        self._away.pop(token).cancel()
        session = self._known.pop(token)
        if session.running:
            session.running.abandon()
        log.debug("session %s is forgotten", session.sid)
