"""Read the whole body of a polling client's POST, within limits.

engineio reads once, which returns only what has arrived so far: the beginning of a long
prompt. A body over the limit is read, too, and dropped, so that the client gets an error
reply.
"""

from aiohttp import ClientError, StreamReader

from gateway.socketio.frame_filter import filter_frame, not_utf8, too_long

MAX_PACKETS = 1000
"""In one POST. Clients send all waiting packets at once; engineio would accept 16."""
SEPARATOR = b"\x1e"
READ_BYTES = 64 * 1024
MAX_EXCESS = 16
"""A POST of up to so many times the limit is read and answered; of a longer one the rest is
not read."""


class PollingBody:
    def __init__(self, content: StreamReader, limit: int) -> None:
        self._content = content
        self._limit = limit

    async def read(self, length: int) -> bytes:
        """Packets that engineio can parse; `length` is ignored."""
        body = bytearray()
        size = 0
        try:
            while size < MAX_EXCESS * self._limit and (
                portion := await self._content.read(READ_BYTES)
            ):
                size += len(portion)
                if len(body) <= self._limit:
                    body += portion
        except (ClientError, OSError):
            return b""  # it left in the middle
        if size > self._limit:
            return too_long(body[:300].decode(errors="replace"), self._limit).encode()
        packets = bytes(body).split(SEPARATOR, MAX_PACKETS)
        if len(packets) > MAX_PACKETS:
            packets[MAX_PACKETS:] = [b""]
        return SEPARATOR.join(self._filtered(packet) for packet in packets)

    def _filtered(self, packet: bytes) -> bytes:
        try:
            return filter_frame(packet.decode(), self._limit).encode()
        except UnicodeDecodeError:
            return not_utf8(packet[:300]).encode()
