"""How do many clients look to a server? Bare websockets in one process, cheap enough to be many.

    python -m benchmarks.gateway.load_generator URL '{"kind": "flood", "clients": 64, …}'

Says `ready`, and where else the caller should look at the server, and waits for a
line each time; prints what was seen as JSON. A token is the monotonic time at
which it was made, so that each tells its own way's length.
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
"""As browsers ask. Who accepts compression is read wrong here, so it is left out of `plain`."""
LATE = 0.1
"""Seconds after which a token does not count as delivered in time."""


def frame(text: str) -> bytes:
    """Masked with zeroes, which a client may."""
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
        self.greeted = False
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
            self._shake_hands(buffer)
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

    def _shake_hands(self, buffer: bytes) -> None:
        if b'40{"sid"' in buffer:
            self.connected.set_result(None)
        elif b'0{"sid"' in buffer:
            self.greet()

    def greet(self) -> None:
        if not self.greeted:
            self.greeted = True
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


def ask(client: Client, tokens: int, pace: float) -> None:
    asked = {"prompt": f"{pace:g}", "personality": -1, "n_predicts": tokens}
    client.emit("generate_text", asked)


async def paced(url: str, clients: int, pace: float, seconds: float) -> dict[str, Any]:
    """What arrives in a window of `seconds`, in which all of them are at it."""
    connected = await connect(url, clients)
    await go()
    for client in connected:
        ask(client, int(pace * (seconds + 30)), pace)
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.5)
    await go("begin")
    since = time.monotonic()
    for client in connected:
        client.latencies.clear()
    await asyncio.sleep(seconds)
    took = time.monotonic() - since
    latencies = sorted(late for client in connected for late in client.latencies)
    await go("end")
    for client in connected:
        client.transport.abort()
    return {
        "tokens": len(latencies),
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[len(latencies) * 99 // 100],
        "delivered": sum(late <= LATE for late in latencies) / (clients * pace * took),
    }


async def flood(url: str, clients: int, tokens: int) -> dict[str, Any]:
    """As much as is taken, until all have all."""
    connected = await connect(url, clients, timed=False)
    await go()
    await go("begin")
    started = time.monotonic()
    for client in connected:
        ask(client, tokens, 0)
    await asyncio.gather(*(client.ended for client in connected))
    took = time.monotonic() - started
    await go("end")
    return {
        "seconds": took,
        "tokens": clients * tokens,
        "events": sum(client.events for client in connected),
    }


async def idle(url: str, clients: int) -> dict[str, Any]:
    await go()
    connected = await connect(url, clients, plain=False)
    await asyncio.sleep(1)
    for client in connected:  # the handshake is over, whatever was made of it
        client.greet()
    await asyncio.sleep(1)
    await go("idle")
    return {"received": sum(client.received for client in connected)}


async def stalled(url: str, tokens: int, seconds: float) -> dict[str, Any]:
    """One that asks and does not read; then it does."""
    [client] = await connect(url, 1, timed=False)
    await go()
    ask(client, tokens, 0)
    client.transport.pause_reading()
    await asyncio.sleep(seconds)
    await go("stalled")
    client.transport.resume_reading()
    await client.ended
    return {"events": client.events, "received": client.received}


async def cancels(url: str, times: int, pace: float, flooding: int) -> dict[str, Any]:
    """When each cancel was sent; meanwhile `flooding` others take what they can."""
    others = await connect(url, flooding, timed=False)
    [client] = await connect(url, 1, timed=False)
    await go()
    for other in others:
        ask(other, 1_000_000, 0)
    sent = []
    for number in range(times):
        client.chunk.clear()
        client.ended = asyncio.get_running_loop().create_future()
        ask(client, 1_000_000, pace)
        await client.chunk.wait()
        await asyncio.sleep(0.05 + number / times / pace)  # each part of a step in turn
        client._tail = b""
        sent.append(time.monotonic())
        client.emit("cancel_generation", {})  # the original needs an argument
        await asyncio.wait({client.ended}, timeout=0.3)  # and says no more after it
        await asyncio.sleep(0.05)
    for other in others:
        other.transport.abort()
    return {"sent": sent}


async def go(word: str = "ready") -> None:
    print(word, flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def main() -> None:
    url, what = sys.argv[1], json.loads(sys.argv[2])
    kind = {each.__name__: each for each in (paced, flood, idle, stalled, cancels)}
    result = asyncio.run(kind[what.pop("kind")](url, **what))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
