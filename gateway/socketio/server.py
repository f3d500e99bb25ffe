"""The Socket.IO server: connect, disconnect, and one handler for all events.

python-socketio calls in here. `gateway.socketio.packets` gives all events one name.
"""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

import socketio
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError

from gateway.core import Core
from gateway.observability.request_log import RequestLog
from gateway.scheduling.quotas import RateLimit
from gateway.security.access import AccessControl, bearer, client_address
from gateway.security.origins import Origins
from gateway.security.tokens_file import TokenHolder
from gateway.sessions.pacing import BURST, CONNECTION_BURST, CONNECTION_RATE, RATE, Pacing
from gateway.sessions.session import Session, owner
from gateway.socketio import engineio_hooks, replies
from gateway.socketio.endpoints import Endpoints
from gateway.socketio.flusher import Flusher
from gateway.socketio.library_transport import LibraryTransport
from gateway.socketio.packets import REQUEST, Packet
from gateway.socketio.payloads import ResumeAuth, resume_auth
from gateway.socketio.send_queue import SendQueue, Transport
from protocol.logs import RateLimitedLog

log = logging.getLogger(__name__)

FRAMES_PER_SECOND = 2
"""Messages of the maximum size from one client, or as many bytes in smaller ones."""
FLUSH_SECONDS = 1.0
"""Time to send what waits when the server stops."""


TOO_MANY = (
    f"too many clients connect from there: more than {BURST} at once and {RATE:g} a second; "
    "try again in a few seconds"
)
GONE = "the connection has ended"


class SocketIo:
    """A frontend. Owns the Socket.IO server; `close` disconnects all clients."""

    def __init__(self, core: Core, flusher: Flusher, access: AccessControl) -> None:
        settings = core.settings
        self._core = core
        self._access = access
        self._refused = RateLimitedLog(log)
        self._connection_pace = Pacing(CONNECTION_BURST, CONNECTION_RATE)
        self._owner_pace = Pacing(BURST, RATE)
        self._flusher = flusher
        self._endpoints = Endpoints(core)
        self._sio = socketio.AsyncServer(
            async_mode="aiohttp",
            cors_allowed_origins=Origins(settings.cors_origins),
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            serializer=Packet,
            max_http_buffer_size=settings.max_frame,
            http_compression=False,
            logger=False,
            engineio_logger=False,
        )
        self._sio.on("connect", self._connect)
        self._sio.on("disconnect", self._disconnect)
        self._sio.on(REQUEST, self._request)
        unknown = engineio_hooks.unknown_engineio(self._sio)
        self._direct = settings.direct_writes and not unknown
        if unknown:
            log.warning("clients are served by python-socketio alone, which is slower: %s", unknown)
        else:
            emptied = flusher.room_freed if self._direct else None
            rate = FRAMES_PER_SECOND * settings.max_frame if settings.event_rate else 0
            engineio_hooks.install(self._sio, settings.max_frame, emptied, rate=rate)

    def attach(self, app: web.Application) -> None:
        self._sio.attach(app)

    async def close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._flusher.drained()
        for session in list(self._core.sessions.connected.values()):
            self._leave(session, "the server stops", keep=False)
        await self._sio.shutdown()

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        request = environ["aiohttp.request"]
        holder, address = self._admit(request, auth), client_address(request.remote)
        await self._pace(sid, owner(holder, address))
        resume = resume_auth(auth)
        new = Session(
            sid,
            SendQueue(self._transport(sid), self._flusher, notices=resume.events),
            self._core.quotas.of(holder),
            RateLimit(self._core.settings.event_rate),
            address,
            resumable=resume.resumable,
        )
        session = await self._core.sessions.arrive(new, resume.token)
        if engineio_hooks.has_ended(self._sio, sid):
            await self._disconnect(sid, "while it connected")
            raise ConnectionRefusedError(GONE)
        # After the packet that confirms the connection.
        asyncio.get_running_loop().call_soon(self._greet, session, sid, resume)
        name = f" as {holder.name}" if holder.name else ""
        count = len(self._core.sessions.connected)
        log.info("client %s connected%s, %d now", sid, name, count)

    def _greet(self, session: Session, sid: str, resume: ResumeAuth) -> None:
        """Send the `session` event, and what the client has missed."""
        if self._core.sessions.connected.get(sid) is not session:
            return  # it disconnected meanwhile
        running = session.unfinished(resume.id)
        connection = session.connection
        id = running.state.id if running else None
        default = self._core.selections.default_personality(session)
        connection.event(*replies.session_event(session, default, id))
        if running:
            running.attach(connection, resume.have if running.state.id == resume.id else 0)
        if session.lost_generation:
            connection.event(*replies.lost_event(session.lost_generation))
            session.lost_generation = ""

    def _admit(self, request: web.BaseRequest, auth: Any) -> TokenHolder:
        """The holder of the token in the connect packet or in a header. The client gets the
        raised error as `connect_error`."""
        given = auth.get("token") if isinstance(auth, dict) else None
        value = given if isinstance(given, str) else bearer(request.headers)
        if holder := self._access.holder(value):
            return holder
        which = "a known token" if value else "a token"
        self._refused.warning("refused a client without %s", which)
        raise ConnectionRefusedError(
            "this server does not know that token"
            if value
            else "this server needs a token: connect with auth {token: …}, or with the header "
            "Authorization: Bearer …"
        )

    async def _pace(self, sid: str, owner: str) -> None:
        """Wait until it is its turn. Nothing else of this connection is read meanwhile."""
        connection = engineio_hooks.connection_id(self._sio, sid)
        for pacing, key in ((self._connection_pace, connection), (self._owner_pace, owner)):
            seconds = pacing.wait(key, time.monotonic())
            if seconds is None:
                self._refused.warning("refused a client: too many connect at the same time")
                raise ConnectionRefusedError(TOO_MANY)
            if seconds:
                await asyncio.sleep(seconds)
        if engineio_hooks.has_ended(self._sio, sid):
            raise ConnectionRefusedError(GONE)

    async def _disconnect(self, sid: str, why: str = "") -> None:
        if session := self._core.sessions.connected.get(sid):
            self._leave(session, why)

    def _leave(self, session: Session, why: str, *, keep: bool = True) -> None:
        sessions = self._core.sessions
        sessions.leave(session, keep=keep)
        log.info("client %s disconnected (%s), %d left",
                 session.sid, why, len(sessions.connected))  # fmt: skip

    async def _request(self, sid: str, event: str, *arguments: Any) -> Any:
        session = self._core.sessions.connected.get(sid)
        if session is None:
            return None  # it disconnected while its event was in flight
        handler = asyncio.current_task()
        assert handler
        session.handlers.add(handler)
        name = event if self._endpoints.knows(event) else "unknown"
        try:
            with RequestLog(name, session.sid, session.quota.holder.name) as request_log:
                return await self._endpoints.handle(session, event, arguments, request_log)
        except Exception:
            log.exception("the handler of an event failed")
            answer = {"success": False, "error": "the server made a mistake: see its log"}
            session.connection.event("error", {**answer, "event": event[:64]})
            return answer
        finally:
            session.handlers.discard(handler)

    def _transport(self, sid: str) -> Transport:
        if self._direct:
            return engineio_hooks.direct_transport(self._sio, sid)
        return LibraryTransport(self._sio, sid, self._flusher.room_freed)
