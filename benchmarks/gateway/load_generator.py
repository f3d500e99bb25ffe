"""Load generator: many clients as bare websockets in one process.

    python -m benchmarks.gateway.load_generator URL '{"kind": "flood", "clients": 64, …}'

Prints `ready`, and other words at points where the caller measures the server, and waits
for a line after each; prints the results as JSON. A token is the monotonic time at which
it was made, so each carries its own latency.
"""

import asyncio
import json
import re
import struct
import sys
import time
from typing import Any
from urllib.parse import urlsplit

CHUNK = re.compile(rb'"chunk":"([0-9. ]*)"')
REQUEST = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
"""As browsers send it. Compressed frames cannot be parsed here, so `plain` does not offer it."""
LATE = 0.1
"""Seconds after which a token does not count as delivered in time."""


def frame(text: str) -> bytes:
    """A client frame, masked with zeros, which the protocol allows."""
    payload = text.encode()
    if len(payload) < 126:
        return struct.pack("!BBL", 0x81, 0x80 | len(payload), 0) + payload
    return struct.pack("!BBHL", 0x81, 0xFE, len(payload), 0) + payload


class Client(asyncio.Protocol):
    def __init__(self, hello: bytes, timed: bool) -> None:
        loop = asyncio.get_running_loop()
        self.connected: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.chunk: asyncio.Event = asyncio.Event()
        self.latencies: list[float] = []
        self.events = self.received = 0
        self.opened = False
        self._hello = hello
        self._timed = timed
        self._tail = b""

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        transport.write(self._hello)

    def emit(self, event: str, *arguments: Any) -> None:
        self.transport.write(frame("42" + json.dumps([event, *arguments])))

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        buffer = self._tail + data
        if not self.connected.done():
            self._handshake(buffer)
        end = 0
        if self._timed:
            now = time.monotonic()
            for found in CHUNK.finditer(buffer):
                end = found.end()
                self.events += 1
                self.latencies += [now - float(stamp) for stamp in found[1].split()]
        else:
            self.events += buffer.count(b'"chunk":"')
            end = buffer.rfind(b'"chunk":"') + 9 if b'"chunk":"' in buffer else 0
        if self.events:
            self.chunk.set()
        if b'"text_generated"' in buffer and not self.ended.done():
            self.ended.set_result(None)
        self._tail = buffer[max(end, len(buffer) - 4096) :]

    def _handshake(self, buffer: bytes) -> None:
        if b'40{"sid"' in buffer:
            self.connected.set_result(None)
        elif b'0{"sid"' in buffer:
            self.open_session()

    def open_session(self) -> None:
        if not self.opened:
            self.opened = True
            self.transport.write(frame("40"))

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.connected, self.ended):
            future.cancel()


async def connect(url: str, count: int, *, plain: bool = True, timed: bool = True) -> list[Client]:
    parts = urlsplit(url)
    lines = REQUEST.format(host=parts.netloc)
    if plain:
        lines = lines.replace("Sec-WebSocket-Extensions: permessage-deflate\r\n", "")
    clients = []
    for _ in range(count):
        _, client = await asyncio.get_running_loop().create_connection(
            lambda: Client(lines.encode(), timed), parts.hostname, parts.port
        )
        clients.append(client)
        if plain:
            await client.connected
    return clients


def request(client: Client, tokens: int, pace: float) -> None:
    data = {"prompt": f"{pace:g}", "personality": -1, "n_predicts": tokens}
    client.emit("generate_text", data)


async def paced(url: str, clients: int, pace: float, seconds: float) -> dict[str, Any]:
    """Latencies of the tokens that arrive in a window of `seconds` while all clients generate."""
    connected = await connect(url, clients)
    await sync()
    for client in connected:
        request(client, int(pace * (seconds + 30)), pace)
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.5)
    await sync("begin")
    since = time.monotonic()
    for client in connected:
        client.latencies.clear()
    await asyncio.sleep(seconds)
    took = time.monotonic() - since
    latencies = sorted(late for client in connected for late in client.latencies)
    await sync("end")
    for client in connected:
        client.transport.abort()
    return {
        "tokens": len(latencies),
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
        "delivered": sum(late <= LATE for late in latencies) / (clients * pace * took),
    }


async def flood(url: str, clients: int, tokens: int) -> dict[str, Any]:
    """Each client receives as fast as it can, until all have all tokens."""
    connected = await connect(url, clients, timed=False)
    await sync()
    await sync("begin")
    started = time.monotonic()
    for client in connected:
        request(client, tokens, 0)
    await asyncio.gather(*(client.ended for client in connected))
    took = time.monotonic() - started
    await sync("end")
    return {
        "seconds": took,
        "tokens": clients * tokens,
        "events": sum(client.events for client in connected),
    }


async def idle(url: str, clients: int) -> dict[str, Any]:
    await sync()
    connected = await connect(url, clients, plain=False)
    await asyncio.sleep(1)
    for client in connected:  # after the handshake, whether or not its reply was parsed
        client.open_session()
    await asyncio.sleep(1)
    await sync("idle")
    return {"received": sum(client.received for client in connected)}


async def stalled(url: str, tokens: int, seconds: float) -> dict[str, Any]:
    """A client that sends a request, does not read for `seconds`, and then reads everything."""
    [client] = await connect(url, 1, timed=False)
    await sync()
    request(client, tokens, 0)
    client.transport.pause_reading()
    await asyncio.sleep(seconds)
    await sync("stalled")
    client.transport.resume_reading()
    await client.ended
    return {"events": client.events, "received": client.received}


async def cancels(url: str, times: int, pace: float, flooding: int) -> dict[str, Any]:
    """When each cancel was sent, while `flooding` other clients receive as fast as they can."""
    others = await connect(url, flooding, timed=False)
    [client] = await connect(url, 1, timed=False)
    await sync()
    for other in others:
        request(other, 1_000_000, 0)
    sent = []
    for number in range(times):
        client.chunk.clear()
        client.ended = asyncio.get_running_loop().create_future()
        request(client, 1_000_000, pace)
        await client.chunk.wait()
        await asyncio.sleep(0.05 + number / times / pace)  # at different points of a step
        client._tail = b""
        sent.append(time.monotonic())
        client.emit("cancel_generation", {})  # the original needs an argument
        await asyncio.wait({client.ended}, timeout=0.3)  # and sends nothing after it
        await asyncio.sleep(0.05)
    for other in others:
        other.transport.abort()
    return {"sent": sent}


async def sync(word: str = "ready") -> None:
    """Print `word`, and wait until the caller sends a line."""
    print(word, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def main() -> None:
    url, options = sys.argv[1], json.loads(sys.argv[2])
    kinds = {kind.__name__: kind for kind in (paced, flood, idle, stalled, cancels)}
    result = asyncio.run(kinds[options.pop("kind")](url, **options))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
