"""What arrives on a client's connection, and which session is it for?

python-socketio calls in here: one handler for connect, one for disconnect, one
for everything else. It finds handlers by the names that clients send, so a
client that emits `connect`, `disconnect` or `*` reaches the handler of that
name; each tells the real call from the forged one.
"""

import asyncio
import logging
from typing import Any

import socketio
from aiohttp import web

from gateway import wire
from gateway.desk import Desk
from gateway.events import Endpoints
from gateway.ordinary import Ordinary
from gateway.origins import Origins
from gateway.outlet import Outlet, Way
from gateway.server import Server
from gateway.sessions import Session

log = logging.getLogger(__name__)

PING_INTERVAL, PING_TIMEOUT = 25, 20
MAX_FRAME = 32 * 2**20
"""Bytes of one client message; the prompt in it may have half as many characters."""


class Sockets:
    """Owns the Socket.IO server; `close` ends all sessions."""

    def __init__(self, server: Server, desk: Desk) -> None:
        self._server = server
        self._desk = desk
        self._endpoints = Endpoints(server)
        self.sio = socketio.AsyncServer(
            async_mode="aiohttp",
            cors_allowed_origins=Origins(server.settings.cors_origins),
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_TIMEOUT,
            max_http_buffer_size=MAX_FRAME,
            http_compression=False,
            logger=False,
            engineio_logger=False,
        )
        self.sio.on("connect", self._connect)
        self.sio.on("disconnect", self._disconnect)
        self.sio.on("*", self._event)
        self._direct = server.settings.direct_writes
        if self._direct and (reason := wire.missing(self.sio)):
            log.warning("clients are written to in the slow way: %s", reason)
            self._direct = False
        if self._direct:
            wire.install(self.sio, desk.look_again)

    def attach(self, app: web.Application) -> None:
        self.sio.attach(app)

    async def close(self) -> None:
        for session in list(self._server.sessions.values()):
            await self._leave(session, "the server stops")
        await self.sio.shutdown()

    async def _connect(self, sid: str, *arguments: Any) -> Any:
        environ = arguments[0] if arguments else None
        if not isinstance(environ, dict) or "aiohttp.request" not in environ:
            return await self._event("connect", sid, *arguments)  # a page of 2023 emits it
        self._server.sessions[sid] = Session(sid, Outlet(self._way(sid), self._desk))
        log.info("client %s connected, %d now", sid, len(self._server.sessions))
        return None

    async def _disconnect(self, sid: str, *arguments: Any) -> Any:
        if self.sio.manager.is_connected(sid, "/"):
            return await self._event("disconnect", sid, *arguments)
        if session := self._server.sessions.get(sid):
            await self._leave(session, str(arguments[0]) if arguments else "")
        return None

    async def _leave(self, session: Session, why: str) -> None:
        del self._server.sessions[session.sid]
        log.info("client %s disconnected (%s), %d left",
                 session.sid, why, len(self._server.sessions))  # fmt: skip
        if session.running:
            session.running.abandon()
        for handler in session.handlers - {asyncio.current_task()}:
            handler.cancel()
        session.outlet.close()

    async def _event(self, event: Any, sid: Any = None, *arguments: Any) -> Any:
        if event in self._server.sessions:
            event, sid, arguments = "*", event, (sid, *arguments)
        session = self._server.sessions.get(sid)
        if session is None:
            return None  # it left while its event was on the way
        handler = asyncio.current_task()
        assert handler
        session.handlers.add(handler)
        try:
            return await self._endpoints.handle(session, str(event), arguments)
        except Exception:
            log.exception("the handler of an event failed")
            answer = {"success": False, "error": "the server made a mistake: see its log"}
            session.outlet.event("error", {**answer, "event": str(event)[:64]})
            return answer
        finally:
            session.handlers.discard(handler)

    def _way(self, sid: str) -> Way:
        if self._direct:
            return wire.Wire(self.sio, sid)
        return Ordinary(self.sio, sid, self._desk.look_again)
