"""What arrives on a client's connection, and which session is it for?

python-socketio calls in here: one handler for connect, one for disconnect, one
for everything else, which `gateway.socketio.packets` has given one name.
"""

import asyncio
import logging
from typing import Any

import socketio
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError

from gateway.core import Server
from gateway.observability.request_log import Entry
from gateway.scheduling.rate_limit import Pace
from gateway.security.access import Current, Holder, bearer
from gateway.security.origins import Origins
from gateway.sessions.session import Session
from gateway.socketio import direct_transport as wire
from gateway.socketio import frame_filter as gate
from gateway.socketio import idle_connections as lobby
from gateway.socketio import polling_body as posts
from gateway.socketio.endpoints import Endpoints
from gateway.socketio.flusher import Desk
from gateway.socketio.library_transport import Ordinary
from gateway.socketio.packets import REQUEST, Packet
from gateway.socketio.send_queue import Outlet, Way
from protocol.logs import RateLimitedLog

log = logging.getLogger(__name__)


class Sockets:
    """Owns the Socket.IO server; `close` ends all sessions."""

    def __init__(self, server: Server, desk: Desk, access: Current) -> None:
        self._server = server
        self._access = access
        self._limited_log = RateLimitedLog(log)
        self._desk = desk
        self._endpoints = Endpoints(server)
        limit = server.settings.max_frame
        self.sio = socketio.AsyncServer(
            async_mode="aiohttp",
            cors_allowed_origins=Origins(server.settings.cors_origins),
            ping_interval=server.settings.ping_interval,
            ping_timeout=server.settings.ping_timeout,
            serializer=Packet,
            max_http_buffer_size=limit,
            http_compression=False,
            logger=False,
            engineio_logger=False,
        )
        self.sio.on("connect", self._connect)
        self.sio.on("disconnect", self._disconnect)
        self.sio.on(REQUEST, self._request)
        self._direct = server.settings.direct_writes
        if self._direct and (reason := wire.missing(self.sio)):
            log.warning("clients are written to in the slow way: %s", reason)
            self._direct = False
        if self._direct:
            wire.install(self.sio, desk.look_again)
        gate.install(self.sio, limit, show_out=lobby.install(self.sio))
        posts.install(self.sio, limit)

    def attach(self, app: web.Application) -> None:
        self.sio.attach(app)

    async def close(self) -> None:
        for session in list(self._server.sessions.values()):
            self._server.returning.forget(session)
            await self._leave(session, "the server stops")
        await self._server.returning.close()
        await self.sio.shutdown()

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        holder = self._admit(environ["aiohttp.request"], auth)
        fresh = Session(
            sid,
            Outlet(self._way(sid), self._desk),
            self._server.allowances.of(holder),
            Pace(self._server.settings.event_rate),
        )
        session = self._server.sessions[sid] = await self._server.returning.arrive(fresh, auth)
        # Behind the packet that says to the client that it is connected.
        asyncio.get_running_loop().call_soon(self._greet, session, sid, auth)
        name = f" as {holder.name}" if holder.name else ""
        log.info("client %s connected%s, %d now", sid, name, len(self._server.sessions))

    def _greet(self, session: Session, sid: str, auth: Any) -> None:
        if self._server.sessions.get(sid) is session:
            self._server.returning.greet(session, auth)

    def _admit(self, request: web.BaseRequest, auth: Any) -> Holder:
        """Whose token it brought, in the connect packet or in a header. What is raised is its
        `connect_error`."""
        given = auth.get("token") if isinstance(auth, dict) else None
        value = given if isinstance(given, str) else bearer(request.headers)
        if holder := self._access.holder(value):
            return holder
        self._limited_log.warning("refused a client %s", "without a known token" if value else
                               "without a token")  # fmt: skip
        raise ConnectionRefusedError(
            "this server does not know that token"
            if value
            else "this server needs a token: connect with auth {token: …}, or with the header "
            "Authorization: Bearer …"
        )

    async def _disconnect(self, sid: str, why: str = "") -> None:
        if session := self._server.sessions.get(sid):
            await self._leave(session, why)

    async def _leave(self, session: Session, why: str) -> None:
        del self._server.sessions[session.sid]
        log.info("client %s disconnected (%s), %d left",
                 session.sid, why, len(self._server.sessions))  # fmt: skip
        if not self._server.returning.leave(session):
            self._server.returning.forget(session)
            if session.running:
                session.running.abandon()
        for handler in session.handlers - {asyncio.current_task()}:
            handler.cancel()
        session.outlet.close()

    async def _request(self, sid: str, event: str, *arguments: Any) -> Any:
        session = self._server.sessions.get(sid)
        if session is None:
            return None  # it left while its event was on the way
        handler = asyncio.current_task()
        assert handler
        session.handlers.add(handler)
        name = event if self._endpoints.knows(event) else "unknown"
        entry = Entry(session, name, self._server.selection(session))
        try:
            with entry:
                entry.answer = await self._endpoints.handle(session, event, arguments)
            return entry.answer
        except Exception:
            log.exception("the handler of an event failed")
            answer = {"success": False, "error": "the server made a mistake: see its log"}
            session.outlet.event("error", {**answer, "event": event[:64]})
            return answer
        finally:
            session.handlers.discard(handler)

    def _way(self, sid: str) -> Way:
        if self._direct:
            return wire.Wire(self.sio, sid)
        return Ordinary(self.sio, sid, self._desk.look_again)
