"""How is what a polling client posts read?

engineio asks aiohttp once, which gives what has arrived by then: of a prompt
that is longer than a network buffer that is the beginning. What is longer than
it may be is read, too, and forgotten, so that the client can be told.
"""

from typing import Any

import socketio
from aiohttp import ClientError, StreamReader
from engineio.payload import Payload

from gateway.gate import SLACK, not_utf8, tidied, too_long

PACKETS = 1000
"""In one post; clients put into it whatever has gathered, and engineio would take 16."""
SEPARATOR = b"\x1e"
PORTION = 64 * 1024


class _Whole:
    def __init__(self, content: StreamReader, limit: int) -> None:
        self._content = content
        self._limit = limit

    async def read(self, length: int) -> bytes:
        """Packets that engineio can read. `length` is as announced."""
        body = bytearray()
        size = 0
        try:
            while size < length and (portion := await self._content.read(PORTION)):
                size += len(portion)
                if len(body) <= self._limit:
                    body += portion
        except (ClientError, OSError):
            return b""  # it left in the middle
        if size > self._limit:
            return too_long(body[:300].decode(errors="replace"), self._limit).encode()
        packets = bytes(body).split(SEPARATOR, PACKETS)
        if len(packets) > PACKETS:
            packets[PACKETS:] = [b""]
        return SEPARATOR.join(self._tidied(packet) for packet in packets)

    def _tidied(self, packet: bytes) -> bytes:
        try:
            return tidied(packet.decode(), self._limit).encode()
        except UnicodeDecodeError:
            return not_utf8(packet[:300]).encode()


def install(sio: socketio.AsyncServer, limit: int) -> None:
    """Before the first client. `limit` is of bytes in one post."""
    translate = sio.eio._async["translate_request"]
    Payload.max_decode_packets = PACKETS + 1

    def translated(request: Any) -> dict[str, Any]:
        environ: dict[str, Any] = translate(request)
        # A post that does not say how long it is ends when it ends.
        environ.setdefault("CONTENT_LENGTH", str(SLACK * limit))
        return {**environ, "wsgi.input": _Whole(environ["wsgi.input"], limit)}

    sio.eio._async = {**sio.eio._async, "translate_request": translated}
