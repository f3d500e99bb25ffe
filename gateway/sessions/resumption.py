"""Who has been here before, and what was kept for them?

Each session has a token, which its client gets with the event `session`. A client that
brings it back, in `auth`, is who it was: selection and discussions are there again, and what
was generated meanwhile. Whoever connects with `session` in `auth`, even an empty one, says
that it may come back: only then does its generation go on without it.
"""

import asyncio
import logging
import secrets
from typing import Any

from gateway.sessions.session import Session
from gateway.storage.discussions import History, Selected

log = logging.getLogger(__name__)

MAX_AWAY = 1000
"""Sessions without a client that are kept; the one that left first goes first."""
MAX_TOKEN = 64
LOST = "the server was started again while it generated this answer"


class Returning:
    """Only for the event loop's thread."""

    def __init__(
        self, window: float, history: History | None, connected: dict[str, Session]
    ) -> None:
        """`window` is how many seconds a session outlives its connection; 0 is not at all.
        `connected` are the sessions that have one, by its id."""
        self._connected = connected
        self._window = window
        self._history = history
        self._known: dict[str, Session] = {}
        self._away: dict[str, asyncio.TimerHandle] = {}

    @property
    def away(self) -> list[Session]:
        """Those whose clients are gone and may come back."""
        return [self._known[token] for token in self._away]

    async def arrive(self, fresh: Session, auth: Any) -> Session:
        """Whose connection this is: that of `fresh`, or of the session that is known by the
        token in `auth`. Call `greet` once the client may be written to."""
        given = auth.get("session") if isinstance(auth, dict) else None
        fresh.returns = given is not None
        token = given if isinstance(given, str) and 0 < len(given) <= MAX_TOKEN else ""
        known = self._known.get(token)
        if known and known.allowance.holder.name == fresh.allowance.holder.name:
            return self._again(known, fresh)
        if token and not known and await self._restored(fresh, token):
            fresh.resumed = True
        else:
            token = secrets.token_urlsafe(24)
        fresh.token = token
        self._known[token] = fresh
        return fresh

    def greet(self, session: Session, auth: Any) -> None:
        """Tell its client who it is, and what it has missed."""
        running = session.running or session.unheard(_text(auth, "id"))
        session.outlet.event("session", {
            "token": session.token,
            "resumed": session.resumed,
            "binding": session.binding,
            "model": session.model,
            "personality": session.active,
            "id": running.stream.id if running else None,
        })  # fmt: skip
        if running:
            same = running.stream.id == _text(auth, "id")
            running.attach(session.outlet, _count(auth) if same else 0)
        if session.lost:
            session.outlet.event("generation_error", {"error": LOST, "id": session.lost})
            session.lost = ""

    def leave(self, session: Session) -> bool:
        """Its connection has ended; whether it is kept, with what runs for it."""
        if not self._window or self._known.get(session.token) is not session:
            return False
        if session.running and session.returns:
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
        """Nobody will come back to this gateway; what is to be written, is."""
        history, self._history = self._history, None  # what runs for the absent is lost for them
        for token in list(self._away):
            self._expire(token)
        if history:
            await asyncio.to_thread(history.close)

    def note(self, session: Session) -> None:
        """What it has chosen may have changed."""
        if self._history is None or not session.returns:
            return
        running = session.running
        id = running.stream.id if running and not running.stream.end else ""
        selected = Selected(session.binding, session.model, session.active, id)
        if selected != session.noted:
            session.noted = selected
            self._history.note(session.token, session.allowance.holder.name, selected)

    def said(self, session: Session, personality: str, prompt: str, answer: str) -> None:
        """Something was added to a discussion."""
        if self._history is not None and session.returns:
            self._history.add(session.token, (personality, prompt, answer))

    def _again(self, known: Session, fresh: Session) -> Session:
        if timer := self._away.pop(known.token, None):
            timer.cancel()
        else:  # one of the two connections is dead, or soon will be: not the newer one
            self._connected.pop(known.sid, None)
            if known.running:
                known.running.detach()
            known.outlet.drop("came back on another connection")
        known.resumed = True
        known.returns |= fresh.returns
        known.sid, known.outlet, known.pace = fresh.sid, fresh.outlet, fresh.pace
        known.allowance = fresh.allowance  # whose limits may be others by now
        return known

    async def _restored(self, fresh: Session, token: str) -> bool:
        if self._history is None:
            return False
        found = await self._history.find(token, fresh.allowance.holder.name)
        if found is None or token in self._known:
            return False
        selected, said = found
        fresh.binding, fresh.model, fresh.active = selected.binding, selected.model, selected.active
        fresh.lost = selected.running
        for personality, prompt, answer in said:
            fresh.discussion(personality).add(prompt, answer)
        return True

    def _expire(self, token: str) -> None:
        self._away.pop(token).cancel()
        session = self._known.pop(token)
        if session.running:
            session.running.abandon()
        log.debug("session %s is forgotten", session.sid)


def _text(auth: Any, key: str) -> str:
    value = auth.get(key) if isinstance(auth, dict) else None
    return value if isinstance(value, str) else ""


def _count(auth: Any) -> int:
    """Characters of the answer that the client has."""
    value = auth.get("have")
    return value if isinstance(value, int) and value > 0 else 0
