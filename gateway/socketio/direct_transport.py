"""Direct transport: write frames to a websocket without python-socketio in between.

Complete frames go to the asyncio transport, all frames of a client in one write. That is
legal with compression off, and keeps the order while engineio itself has nothing to send.
`engineio_hooks` replaces engineio's queue and websocket by the classes of this module.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType
from aiohttp.web import WebSocketResponse
from engineio.async_drivers import aiohttp as driver
from engineio.packet import MESSAGE, Packet

from gateway.scheduling.quotas import RateLimit
from gateway.socketio.encoder import PACKETS_A_POLL, Event, Item

ROOM = 64 * 1024
"""Bytes that may wait in the transport's write buffer."""
KERNEL_ROOM = 256 * 1024
"""Size of the kernel's send buffer: with its default of megabytes, a slow client would be
noticed too late."""
CONTROL_RATE, CONTROL_SECONDS = 100, 10.0
"""Pings and pongs a second, and for how many seconds at once, that a client may send. They carry
nothing, so no other limit counts them, and a flood of them would keep the event loop busy."""
TEXT, BINARY, PING = 0x81, 0x82, 0x89
"""First byte of a frame that is a whole message."""


def frame(payload: bytes, first: int = TEXT) -> bytes:
    """RFC 6455, 5.2; what a server sends is not masked."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


class PacketQueue(asyncio.Queue[Any]):
    """engineio's packets to one client, handed out in portions of PACKETS_A_POLL."""

    def __init__(self, emptied: Callable[[], None]) -> None:
        super().__init__()
        self.pending = 0
        """Packets that were put and not sent; `task_done` is called just before sending."""
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
            except asyncio.QueueEmpty:  # another reader was quicker
                continue

    def get_nowait(self) -> Any:
        if self._portion >= PACKETS_A_POLL:
            raise asyncio.QueueEmpty
        item = super().get_nowait()
        self._portion += 1
        return item

    def task_done(self) -> None:
        super().task_done()
        self.pending -= 1
        if not self.pending:
            self._emptied()


class _ExplainingResponse(WebSocketResponse):
    """Sends an error event before it ends a connection for a message that is too long."""

    def __init__(self, limit: int) -> None:
        """`limit` of a message, in bytes; a longer one is not read to its end."""
        super().__init__(max_msg_size=limit + 1, compress=False, autoping=False)
        self._limit = limit

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        if code == WSCloseCode.MESSAGE_TOO_BIG and not self.closed:
            error = f"a message may have {self._limit:,} bytes: the connection ends"
            event = Event("error", {"success": False, "error": error, "event": ""})
            with suppress(ConnectionError):
                await self.send_str(event.packet)
        return await super().close(code=code, message=message, drain=drain)


def _is_control(message: WSMessage) -> bool:
    """A ping or pong, of the websocket or of Engine.IO."""
    if message.type is WSMsgType.TEXT:
        return message.data[:1] in ("2", "3")
    return message.type in (WSMsgType.PING, WSMsgType.PONG)


class Websocket(driver.WebSocket):  # type: ignore[misc]
    """engineio's side of a websocket, without compression. Its `send` never waits, so a packet
    from the queue is written before any other write."""

    _answers_pings = False
    _on_pong: Callable[[], None] | None = None

    async def __call__(self, environ: dict[str, Any]) -> WebSocketResponse:
        request = environ["aiohttp.request"]
        self._sock: WebSocketResponse = _ExplainingResponse(self.server.max_http_buffer_size)
        await self._sock.prepare(request)
        self.transport: asyncio.Transport = request.transport
        self.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_ROOM)
        self._socket = self.handler.__self__
        self._control = RateLimit(CONTROL_RATE, CONTROL_SECONDS)
        self.transport.write(frame(b"", PING))
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
        while True:
            message = await self._sock.receive()
            if _is_control(message) and not self._control.admits():
                self.transport.abort()
                raise OSError("too many pings or pongs")
            if message.type is WSMsgType.PING:
                await self._sock.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._heard()
            elif isinstance(message.data, str | bytes):
                return message.data
            else:
                raise OSError("the websocket is closed")

    def ask(self, answered: Callable[[], None]) -> bool:
        """Call `answered` when the client has read all that was sent before: it answers pings in
        the order of frames. False for one that has not answered the first ping."""
        if not (self._answers_pings and self.open):
            return False
        self._on_pong = answered
        self.transport.write(frame(b"", PING))
        return True

    def _heard(self) -> None:
        self._answers_pings = True
        answered, self._on_pong = self._on_pong, None
        if answered:
            answered()

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


class DirectTransport:
    """The Transport to the client of one engineio socket. While the client polls or upgrades, or
    packets wait in engineio's queue, items go through that queue."""

    def __init__(self, socket: Any, drop: Callable[[], None]) -> None:
        """`socket` is engineio's, with this module's queue and websocket. `drop` ends the session
        of a client without a websocket."""
        self._socket = socket
        self._drop = drop
        self._queue: PacketQueue = socket.queue

    @property
    def merges(self) -> bool:
        return self._queue.websocket is None

    def room(self) -> int:
        websocket, pending = self._queue.websocket, self._queue.pending
        if self._socket.closed or self._socket.closing:
            return 0
        if websocket is None:
            return ROOM if pending < PACKETS_A_POLL else 0
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

    def ask(self, answered: Callable[[], None]) -> bool:
        """See `Listener.check`. Of a polling client each read is seen anyway."""
        websocket = self._queue.websocket
        return websocket is not None and websocket.ask(answered)

    def drop(self) -> None:
        if websocket := self._queue.websocket:
            websocket.transport.abort()  # engineio ends the session when it sees that
        else:
            self._drop()

    def close(self) -> None:
        """Nothing to release."""
