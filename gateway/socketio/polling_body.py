"""How is what a polling client posts read?

engineio asks aiohttp once, which gives what has arrived by then: of a prompt
that is longer than a network buffer that is the beginning. What is longer than
it may be is read, too, and forgotten, so that the client can be told.
"""

from typing import Any

import socketio
from aiohttp import ClientError, StreamReader
from engineio.payload import Payload

from gateway.socketio.frame_filter import not_utf8, tidied, too_long

PACKETS = 1000
"""In one post; clients put into it whatever has gathered, and engineio would take 16."""
SEPARATOR = b"\x1e"
PORTION = 64 * 1024
PATIENCE = 16
"""A post may be so many times too long and is answered; of what is longer the end is not read."""


class _Whole:
    def __init__(self, content: StreamReader, limit: int) -> None:
        self._content = content
        self._limit = limit

    async def read(self, length: int) -> bytes:
        """Packets that engineio can read, whatever `length` it thinks there is."""
        body = bytearray()
        size = 0
        try:
            while size < PATIENCE * self._limit and (portion := await self._content.read(PORTION)):
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
        # It ends when it ends: engineio would end the session of who announces too much.
        environ["CONTENT_LENGTH"] = "0"
        return {**environ, "wsgi.input": _Whole(environ["wsgi.input"], limit)}

    sio.eio._async = {**sio.eio._async, "translate_request": translated}
