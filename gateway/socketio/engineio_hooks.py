"""All uses of engineio's private parts, behind one check of its version.

The hooks filter frames, read the bodies of polling clients to their end, close connections
without a session, and write to websockets directly. When `unknown_engineio` objects, none is
installed: clients are served by python-socketio alone, which is slower and disconnects them
for malformed frames.
"""

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import socketio
from aiohttp import web
from engineio import packet
from engineio.async_drivers import aiohttp as driver
from engineio.async_socket import AsyncSocket
from engineio.payload import Payload

from gateway.scheduling.quotas import RateLimit
from gateway.socketio.direct_transport import DirectTransport, PacketQueue, Websocket
from gateway.socketio.frame_filter import KINDS, filter_frame
from gateway.socketio.packets import attachment_count, refused
from gateway.socketio.polling_body import MAX_PACKETS, PollingBody

TESTED = {"python-socketio": "5.18.", "python-engineio": "4.15."}
"""Versions whose private parts are known to fit this module."""
SESSION_TIMEOUT = 10.0
"""Seconds from a connection to its session; clients take milliseconds."""
PROBE_TIMEOUT = 10.0
"""Seconds between two frames of an upgrade."""
BURST_SECONDS = 2.0
"""How much may come at once, by the rate at which it may go on."""
CONNECT_FIRST = '4{"message":"connect first: nothing is answered before"}'


def unknown_engineio(sio: socketio.AsyncServer) -> str:
    """Why the hooks do not fit the installed engineio, in one sentence; "" when they do."""
    for name, known in TESTED.items():
        if not version(name).startswith(known):
            return f"{name} is {version(name)}, known is {known}x"
    eio: Any = getattr(sio, "eio", None)
    if not {"connect", "disconnect", "message"} <= set(getattr(eio, "handlers", ())):
        return "engineio's server has other handlers"
    for name in ("_async", "create_queue", "sockets"):
        if not hasattr(eio, name):
            return f"engineio's server has no {name} any more"
    if eio._async.get("websocket") is not driver.WebSocket or "translate_request" not in eio._async:
        return "engineio's server makes its websockets in another way"
    probe = AsyncSocket(eio, "probe")
    for name in ("queue", "upgraded", "upgrading", "closing", "closed", "close"):
        if not hasattr(probe, name):
            return f"engineio's socket has no {name} any more"
    return ""


def install(
    sio: socketio.AsyncServer,
    limit: int,
    emptied: Callable[[], None] | None,
    timeout: float = SESSION_TIMEOUT,
    rate: int = 0,
) -> None:
    """Before the first client. `limit` is in bytes, of one message or POST, `rate` in bytes a
    second of one client; 0 is no limit.

    With `emptied`, `direct_transport` works for each connection. `emptied` is called when
    engineio has sent all its packets to some client.
    """
    if emptied:
        _make_queues_and_websockets(sio, emptied)
    close_idle = _close_idle_connections(sio, timeout)
    _filter_frames(sio, limit, rate, close_idle)
    _read_bodies_whole(sio, limit)


def direct_transport(sio: socketio.AsyncServer, sid: str) -> DirectTransport:
    """For a client that connected after `install` with `emptied`."""
    tasks: set[asyncio.Task[None]] = set()

    def drop() -> None:
        tasks.add(asyncio.create_task(end_session(sio, sid)))

    return DirectTransport(_socket(sio, sid), drop)


def unsent(sio: socketio.AsyncServer, sid: str) -> int:
    """Packets in engineio's queue for a client; 0 if that cannot be known."""
    try:
        return int(_socket(sio, sid).queue.qsize())
    except (AttributeError, KeyError):
        return 0


def connection_id(sio: socketio.AsyncServer, sid: str) -> str:
    """The same for all sessions of one connection."""
    return str(sio.manager.eio_sid_from_sid(sid, "/"))


def has_ended(sio: socketio.AsyncServer, sid: str) -> bool:
    """Its connection has ended; False if that cannot be known. python-socketio tells nobody of
    the end while a client is connecting."""
    try:
        return bool(_socket(sio, sid).closed)
    except KeyError:
        return True
    except AttributeError:
        return False


async def end_session(sio: socketio.AsyncServer, sid: str) -> None:
    """End the session of a client that does not read; python-socketio would wait for it."""
    try:
        socket = _socket(sio, sid)
        request = sio.get_environ(sid)["aiohttp.request"]
        await socket.close(wait=False, abort=True, reason=sio.eio.reason.TRANSPORT_ERROR)
    except (AttributeError, KeyError, TypeError):
        await sio.disconnect(sid)
    else:
        if request.transport:
            request.transport.abort()


def _socket(sio: socketio.AsyncServer, sid: str) -> Any:
    """engineio's socket of a client."""
    return sio.eio.sockets[sio.manager.eio_sid_from_sid(sid, "/")]


def _make_queues_and_websockets(sio: socketio.AsyncServer, emptied: Callable[[], None]) -> None:
    eio = sio.eio
    eio.create_queue = lambda: PacketQueue(emptied)
    eio._async = {**eio._async, "websocket": Websocket}
    disconnect = eio.handlers["disconnect"]

    async def disconnected(id: str, reason: str) -> None:
        await disconnect(id, reason)
        if (socket := eio.sockets.get(id)) and not socket.upgraded:
            socket.queue.put_nowait(None)  # answer a waiting poll now, not at its timeout

    eio.on("disconnect", disconnected)


def _close_idle_connections(sio: socketio.AsyncServer, timeout: float) -> Callable[[str], None]:
    """Close connections that open no session within `timeout` seconds. Return a function that
    closes one at once, if it has no session.

    An Engine.IO connection is open before Socket.IO checks the token, and stays open after a
    refusal: without this, a client without a token could use up all file descriptors.
    """
    eio = sio.eio
    connect = eio.handlers["connect"]
    endings: set[asyncio.Task[None]] = set()

    def close_idle(id: str) -> None:
        if id not in eio.sockets or sio.manager.sid_from_eio_sid(id, "/") is not None:
            return
        if websocket := getattr(eio.sockets[id].queue, "websocket", None):
            websocket.transport.abort()  # engineio would wait for the client to close it
        endings.add(task := asyncio.create_task(eio.disconnect(id)))
        task.add_done_callback(endings.discard)

    async def connected(id: str, environ: object) -> object:
        asyncio.get_running_loop().call_later(timeout, close_idle, id)
        return await connect(id, environ)

    eio.on("connect", connected)
    return close_idle


def _filter_frames(
    sio: socketio.AsyncServer, limit: int, rate: int, close_idle: Callable[[str], None]
) -> None:
    eio = sio.eio
    make, take = eio._async["websocket"], eio.handlers["message"]

    def websocket(handler: Any, server: Any) -> Any:
        socket = handler.__self__
        if socket.upgrading:
            return _already_upgrading
        made = make(handler, server)
        made.wait = _filtering(made.wait, socket, limit)
        return made

    async def message(id: str, data: Any) -> None:
        socket = eio.sockets.get(id)
        if socket is None:
            return
        if not isinstance(data, str):
            if isinstance(data, bytes) and getattr(socket, "attachments", 0) > 0:
                socket.attachments -= 1  # its event was answered already
                return
            data = refused("binary data is not accepted", "")
        data = data or refused("an empty packet says nothing", "")
        if not hasattr(socket, "received"):
            socket.received = RateLimit(rate, BURST_SECONDS)
        if not socket.received.admits(len(data)):
            why = f"rate limit exceeded: {rate:,} bytes per second; this event was ignored"
            data = refused(why, data)
        socket.attachments = attachment_count(data)
        if sio.manager.sid_from_eio_sid(id, "/") is None and not data.startswith("0"):
            if getattr(socket, "warned", False):
                return close_idle(id)
            socket.warned = True
            await eio.send_packet(id, packet.Packet(packet.MESSAGE, CONNECT_FIRST))
            return
        await take(id, data)

    eio._async = {**eio._async, "websocket": websocket}
    eio.on("message", message)


async def _already_upgrading(environ: object) -> web.Response:
    return web.Response(status=400, text="this connection is being upgraded already\n")


def _filtering(wait: Callable[[], Any], socket: Any, limit: int) -> Callable[[], Any]:
    """`wait` of a websocket; `socket` is engineio's."""

    async def filtering() -> Any:
        if socket.upgrading:
            return await probed()
        if socket.closed:  # the client sent CLOSE and is still there
            raise OSError
        frame = await wait()
        return filter_frame(frame, limit) if isinstance(frame, str) else b""

    async def probed() -> Any:
        try:
            frame = await asyncio.wait_for(wait(), PROBE_TIMEOUT)
        except OSError:  # TimeoutError, too
            socket.upgrading = (
                False  # engineio does not reset it, and would answer every poll with nothing
            )
            raise
        known = isinstance(frame, str) and frame[:1] in (*KINDS, str(packet.PING))
        return frame if known else str(packet.NOOP)

    return filtering


def _read_bodies_whole(sio: socketio.AsyncServer, limit: int) -> None:
    translate = sio.eio._async["translate_request"]
    Payload.max_decode_packets = MAX_PACKETS + 1

    def translated(request: Any) -> dict[str, Any]:
        environ: dict[str, Any] = translate(request)
        # PollingBody has the limit: engineio would end the session for a large Content-Length.
        environ["CONTENT_LENGTH"] = "0"
        return {**environ, "wsgi.input": PollingBody(environ["wsgi.input"], limit)}

    sio.eio._async = {**sio.eio._async, "translate_request": translated}
