"""How is a frame written to a websocket without python-socketio in between?

Whole frames go straight to the transport: all that waits for a client in one
write. That is legal with compression off, and keeps the order as long as
engineio has nothing of its own under way. It reaches into what engineio does
not promise; all of that is in this module, and `missing` looks for it.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

import socketio
from aiohttp import WSCloseCode
from aiohttp.web import WebSocketResponse
from engineio.async_drivers import aiohttp as driver
from engineio.async_socket import AsyncSocket
from engineio.packet import MESSAGE, Packet

from gateway.socketio.encoder import Event, Item

TESTED = {"python-socketio": "5.18.", "python-engineio": "4.15."}
"""The versions whose insides are known to be as this module thinks."""
PACKETS = 16
"""What a client takes in one answer to its long poll; more is an error to it."""
ROOM = 64 * 1024
"""Bytes that may be on their way in this process."""
KERNEL_ROOM = 256 * 1024
"""And in the kernel, which would take megabytes before anybody noticed that a client is slow."""
TEXT, BINARY = 0x81, 0x82
"""First byte of a frame: this one is the message's only one."""


def missing(sio: socketio.AsyncServer) -> str:
    """What is not as this module needs it, in one sentence; "" when all is."""
    for name, known in TESTED.items():
        if not version(name).startswith(known):
            return f"{name} is {version(name)}, known is {known}x"
    eio = sio.eio
    if "disconnect" not in getattr(eio, "handlers", ()):
        return "engineio's server tells of disconnects in another way"
    for name in ("_async", "create_queue", "sockets"):
        if not hasattr(eio, name):
            return f"engineio's server has no {name} any more"
    if eio._async.get("websocket") is not driver.WebSocket:
        return "engineio's server makes its websockets in another way"
    probe = AsyncSocket(eio, "probe")
    for name in ("queue", "upgraded", "closing", "closed", "close"):
        if not hasattr(probe, name):
            return f"engineio's socket has no {name} any more"
    return ""


def install(sio: socketio.AsyncServer, emptied: Callable[[], None]) -> None:
    """Before the first client: let connections be made so that a Wire can be had of them.

    `emptied` is called when nothing is left of what engineio had to send to some client.
    """
    eio = sio.eio
    eio.create_queue = lambda: Packets(emptied)
    eio._async = {**eio._async, "websocket": Websocket}
    tell = eio.handlers["disconnect"]

    async def disconnected(sid: str, reason: str) -> None:
        await tell(sid, reason)
        if (socket := eio.sockets.get(sid)) and not socket.upgraded:
            socket.queue.put_nowait(None)  # a poll that waits is answered now, not in a minute

    eio.on("disconnect", disconnected)


def unsent(sio: socketio.AsyncServer, sid: str) -> int:
    """Packets that engineio holds back for a client; 0 where that cannot be known."""
    try:
        return int(sio.eio.sockets[sio.manager.eio_sid_from_sid(sid, "/")].queue.qsize())
    except (AttributeError, KeyError):
        return 0


async def end(sio: socketio.AsyncServer, sid: str) -> None:
    """End the session of a client that does not read; python-socketio would wait for it."""
    try:
        socket = sio.eio.sockets[sio.manager.eio_sid_from_sid(sid, "/")]
        request = sio.get_environ(sid)["aiohttp.request"]
        await socket.close(wait=False, abort=True, reason=sio.eio.reason.TRANSPORT_ERROR)
    except (AttributeError, KeyError, TypeError):
        await sio.disconnect(sid)
    else:
        if request.transport:
            request.transport.abort()


def frame(payload: bytes, first: int = TEXT) -> bytes:
    """RFC 6455, 5.2; what a server sends is not masked."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


class Packets(asyncio.Queue[Any]):
    """What engineio has to send to one client: handed out in portions that the client takes."""

    def __init__(self, emptied: Callable[[], None]) -> None:
        super().__init__()
        self.pending = 0
        """Put and not yet sent: `task_done` is called by whoever is about to."""
        self.websocket: Websocket | None = None
        self._emptied = emptied
        self._portion = 0

    def put_nowait(self, item: Any) -> None:
        super().put_nowait(item)
        self.pending += 1

    async def get(self) -> Any:
        while True:
            self._portion = 0
            try:
                return await super().get()
            except asyncio.QueueEmpty:  # somebody else took a portion in this moment
                continue

    def get_nowait(self) -> Any:
        if self._portion >= PACKETS:
            raise asyncio.QueueEmpty
        item = super().get_nowait()
        self._portion += 1
        return item

    def task_done(self) -> None:
        super().task_done()
        self.pending -= 1
        if not self.pending:
            self._emptied()


class _Telling(WebSocketResponse):
    """Says why, before it ends a connection for a message that is too long."""

    def __init__(self, limit: int) -> None:
        """Of a message, in bytes; what is longer is not even read."""
        super().__init__(max_msg_size=limit + 1, compress=False)
        self._limit = limit

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        if code == WSCloseCode.MESSAGE_TOO_BIG and not self.closed:
            error = f"a message may have {self._limit:,} bytes: the connection ends"
            said = Event("error", {"success": False, "error": error, "event": ""})
            with suppress(ConnectionError):
                await self.send_str(said.packet)
        return await super().close(code=code, message=message, drain=drain)


class Websocket(driver.WebSocket):  # type: ignore[misc]
    """engineio's end of a websocket, without compression, and with a `send` that never waits:
    what was taken from the queue is on its way before anybody else can write."""

    async def __call__(self, environ: dict[str, Any]) -> WebSocketResponse:
        request = environ["aiohttp.request"]
        self._sock: WebSocketResponse = _Telling(self.server.max_http_buffer_size)
        await self._sock.prepare(request)
        self.transport: asyncio.Transport = request.transport
        self.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_ROOM)
        self._socket = self.handler.__self__
        try:
            await self.handler(self)
        finally:
            if self._socket.queue.websocket is self:
                self._socket.queue.websocket = None
        return self._sock

    async def wait(self) -> Any:
        queue = self._socket.queue
        if queue.websocket is None and self._socket.upgraded:
            queue.websocket = self
        return await super().wait()

    async def send(self, message: str | bytes) -> None:
        if not self.open:
            raise ConnectionResetError
        if isinstance(message, str):
            self.transport.write(frame(message.encode()))
        else:
            self.transport.write(frame(message, BINARY))

    @property
    def open(self) -> bool:
        return not self._sock.closed and not self.transport.is_closing()


class Wire:
    """A Way to the client of one engineio socket: straight, or through engineio's queue while
    it polls, upgrades, or has something waiting there."""

    def __init__(self, sio: socketio.AsyncServer, sid: str) -> None:
        self._sio = sio
        self._sid = sid
        self._socket = sio.eio.sockets[sio.manager.eio_sid_from_sid(sid, "/")]
        self._queue: Packets = self._socket.queue

    @property
    def merges(self) -> bool:
        return self._queue.websocket is None

    def room(self) -> int:
        websocket, pending = self._queue.websocket, self._queue.pending
        if self._socket.closed or self._socket.closing:
            return 0
        if websocket is None:
            return ROOM if pending < PACKETS else 0
        if pending or not websocket.open:
            return 0
        return ROOM - websocket.transport.get_write_buffer_size()

    def settled(self) -> bool:
        websocket = self._queue.websocket
        if self._queue.pending:
            return False
        return websocket is None or websocket.transport.get_write_buffer_size() < ROOM

    def backlog(self) -> int:
        websocket = self._queue.websocket
        return websocket.transport.get_write_buffer_size() if websocket else self._queue.pending

    def write(self, items: Sequence[Item]) -> None:
        if websocket := self._queue.websocket:
            frames = [frame(item.packet.encode()) for item in items]
            websocket.transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        else:
            for item in items:
                self._queue.put_nowait(Packet(MESSAGE, item.packet[1:]))

    def drop(self) -> None:
        if websocket := self._queue.websocket:
            websocket.transport.abort()  # engineio ends the session when it sees that
        else:
            self._dropping = asyncio.create_task(end(self._sio, self._sid))

    def close(self) -> None:
        """Nothing is held here."""
