"""Engine.IO connections that send arbitrary frames or read only when the test says so."""

import asyncio
import io
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from tests.support.harness import PATIENCE, Event, Home

MESSAGE, PING, NOOP = "4", "2", "6"


class SteppedClient:
    """Reads only when the test says so: polls, upgrades, and records `events`."""

    def __init__(self, server: Home, http: aiohttp.ClientSession) -> None:
        self._url = f"{server.url}/socket.io/?EIO=4"
        self._http = http
        self._websocket: aiohttp.ClientWebSocketResponse | None = None
        self.events: list[Event] = []
        self.largest = 0
        """Packets in the largest answer to a poll."""

    async def open(self, *, websocket: bool) -> None:
        if websocket:
            self._websocket = await self._connect("")
            opened = await self._receive()
        else:
            [opened] = await self._poll()
            self._url += "&sid=" + json.loads(opened[1:])["sid"]
        assert opened.startswith("0"), opened
        await self.send_packet(MESSAGE + "0")
        await self._until_connected()

    async def _until_connected(self) -> None:
        while True:
            for packet in await self._read():
                if packet.startswith("40"):
                    return

    async def emit(self, event: str, *arguments: Any) -> None:
        await self.send_packet(MESSAGE + "2" + json.dumps([event, *arguments]))

    async def send_packet(self, packet: str) -> None:
        if self._websocket:
            return await self._websocket.send_str(packet)
        async with self._http.post(self._url + "&transport=polling", data=packet) as answer:
            assert answer.status == 200, await answer.text()

    async def upgrade(self) -> None:
        """As engine.io's client does: probe, wait for the end of the open poll, then switch."""
        websocket = await self._connect(self._url.partition("&sid=")[2])
        polling = asyncio.create_task(self.read())
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        await polling
        self._websocket = websocket
        await websocket.send_str("5")

    async def read(self) -> None:
        """Read one poll or one websocket frame."""
        for packet in await self._read():
            if packet.startswith(MESSAGE + "2"):
                name, data = json.loads(packet[2:])
                if name != "session":
                    self.events.append((name, data))

    async def until(self, *names: str) -> list[Event]:
        """Read until the last event has one of these names."""
        async with asyncio.timeout(PATIENCE):
            while not (self.events and self.events[-1][0] in names):
                await self.read()
        return self.events

    async def _read(self) -> list[str]:
        packets = [await self._receive()] if self._websocket else await self._poll()
        for packet in packets:
            if packet == PING:
                await self.send_packet("3")
        return packets

    async def _poll(self) -> list[str]:
        async with self._http.get(self._url + "&transport=polling") as answer:
            assert answer.status == 200, await answer.text()
            packets = (await answer.text()).split("\x1e")
        self.largest = max(self.largest, len(packets))
        return packets

    async def _connect(self, sid: str) -> aiohttp.ClientWebSocketResponse:
        url = self._url if sid else self._url.partition("&sid=")[0]
        return await self._http.ws_connect(url + "&transport=websocket", max_msg_size=2**26)

    async def _receive(self) -> str:
        assert self._websocket
        return await self._websocket.receive_str(timeout=PATIENCE)


@asynccontextmanager
async def stepped_client(server: Home, *, websocket: bool = False) -> AsyncIterator[SteppedClient]:
    def small_window(address: Any) -> socket.socket:
        """With a small buffer the gateway soon notices that the client does not read."""
        made = socket.socket(address[0], address[1], address[2])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        return made

    connector = aiohttp.TCPConnector(socket_factory=small_window)
    async with aiohttp.ClientSession(connector=connector) as http:
        client = SteppedClient(server, http)
        await client.open(websocket=websocket)
        yield client


QUESTION = "are you there?"
"""An unknown event, which gets an answer, too."""
ANSWER = '"event":"are you there?"}]'

GREETING = '42["session",'
"""Sent by the gateway after each connect, without a request."""


class EngineIoConnection:
    """One connection. `packets` are the received ones in order, without pings."""

    def __init__(self, server: Home, http: aiohttp.ClientSession) -> None:
        self.url = f"{server.url}/socket.io/?EIO=4&transport="
        self.http = http
        self.packets: list[str] = []
        self.closed = False
        self._ids = itertools.count(1000)
        self._news = asyncio.Condition()

    async def open(self) -> None:
        raise NotImplementedError

    async def send(self, *frames: str | bytes) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def add(self, packet: str) -> None:
        if packet.startswith(GREETING):
            return
        async with self._news:
            self.packets.append(packet)
            self._news.notify_all()

    async def end(self) -> None:
        async with self._news:
            self.closed = True
            self._news.notify_all()

    async def until(self, found: Callable[[str], bool], start: int = 0) -> str:
        """The first matching packet from `start` on; "" if the connection ends before."""
        async with asyncio.timeout(PATIENCE), self._news:
            while True:
                for packet in self.packets[start:]:
                    if found(packet):
                        return packet
                start = len(self.packets)
                if self.closed:
                    return ""
                await self._news.wait()

    async def received_since(self, start: int) -> list[str]:
        """Packets from `start` on, complete: an extra request is sent and its answer awaited."""
        id = next(self._ids)
        with suppress(aiohttp.ClientError, ConnectionError):
            await self.send(f'42{id}["{QUESTION}"]')
            await self.until(lambda packet: packet.startswith((f"43{id}[", "44")), start)
            await self.until(
                lambda packet: packet.endswith(ANSWER) or packet.startswith("44"), start
            )
        return [
            packet for packet in self.packets[start:]
            if not packet.endswith(ANSWER) and not packet.startswith(f"43{id}[")
        ]  # fmt: skip

    async def ask(self, event: str, payload: str, *, attachment: bool = False) -> tuple[
        list[Event], Any, float
    ]:  # fmt: skip
        """Send `payload` unchanged; return its events, the acknowledgement and the seconds."""
        id, start = next(self._ids), len(self.packets)
        kind = "51-" if attachment else "2"
        began = asyncio.get_running_loop().time()
        await self.send(f"4{kind}{id}[{json.dumps(event)}{',' * bool(payload)}{payload}]")
        if attachment:
            await self.send(b"abc")
        ack = await self.until(lambda packet: packet.startswith(f"43{id}["), start)
        took = asyncio.get_running_loop().time() - began
        assert ack, f"{event}: the connection ended"
        packets = [packet for packet in await self.received_since(start) if packet != ack]
        assert all(packet.startswith("42[") for packet in packets), packets
        events = [(name, data) for name, data in (json.loads(packet[2:]) for packet in packets)]
        [acknowledged] = json.loads(ack.partition("[")[1] + ack.partition("[")[2])
        return events, acknowledged, took


class Websocket(EngineIoConnection):
    async def open(self) -> None:
        self._socket = await self.http.ws_connect(self.url + "websocket", max_msg_size=2**26)
        self._reader = asyncio.create_task(self._read())
        await self._socket.send_str("40")
        await self.until(lambda packet: packet.startswith("40"))

    async def send(self, *frames: str | bytes) -> None:
        for frame in frames:
            if isinstance(frame, bytes):
                await self._socket.send_bytes(frame)
            else:
                await self._socket.send_frame(
                    frame.encode(errors="surrogatepass"), aiohttp.WSMsgType.TEXT
                )

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                break
            if message.data == "2":
                await self._socket.send_str("3")
            else:
                await self.add(message.data)
        await self.end()

    async def close(self) -> None:
        await self._socket.close()
        await self._reader


class Polling(EngineIoConnection):
    async def open(self) -> None:
        async with self.http.get(self.url + "polling") as answer:
            opened = await answer.text()
        self.url += "polling&sid=" + json.loads(opened[1:])["sid"]
        self._reader = asyncio.create_task(self._read())
        await self.send("40")
        await self.until(lambda packet: packet.startswith("40"))

    async def send(self, *frames: str | bytes) -> None:
        packets = (f if isinstance(f, bytes) else f.encode(errors="surrogatepass") for f in frames)
        body = io.BytesIO(b"\x1e".join(packets))
        async with self.http.post(self.url, data=body) as answer:
            await answer.read()
            if answer.status != 200:
                await self.end()

    async def _read(self) -> None:
        while not self.closed:
            async with self.http.get(self.url) as answer:
                if answer.status != 200:
                    break
                for packet in (await answer.text()).split("\x1e"):
                    if packet == "2":
                        await self.send("3")
                    elif packet != "6":
                        await self.add(packet)
                    if packet == "1":
                        return await self.end()
        await self.end()

    async def close(self) -> None:
        with suppress(aiohttp.ClientError, ConnectionError):
            await self.send("1")
        await self._reader


@asynccontextmanager
async def engineio_connection(
    server: Home, kind: type[EngineIoConnection] = Websocket
) -> AsyncIterator[EngineIoConnection]:
    async with aiohttp.ClientSession() as http:
        opened = kind(server, http)
        await opened.open()
        try:
            yield opened
        finally:
            await opened.close()
