"""How do tests reach what a Socket.IO client hides? Engine.IO by hand, one step at a time."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.harness import PATIENCE, Event, Home

MESSAGE, PING, NOOP = "4", "2", "6"


class RawClient:
    """Polls, upgrades and reads when the test says so; `events` remembers what came."""

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
        """As engine.io's client does: probe, let the poll under way end, then switch."""
        websocket = await self._connect(self._url.partition("&sid=")[2])
        polling = asyncio.create_task(self.read())
        await websocket.send_str("2probe")
        assert await websocket.receive_str() == "3probe"
        await polling
        self._websocket = websocket
        await websocket.send_str("5")

    async def read(self) -> None:
        """Take what one poll, or one frame, brings."""
        for packet in await self._read():
            if packet.startswith(MESSAGE + "2"):
                name, data = json.loads(packet[2:])
                if name != "session":
                    self.events.append((name, data))

    async def until(self, *names: str) -> list[Event]:
        """Read until an event of one of these names came last."""
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
async def raw_client(server: Home, *, websocket: bool = False) -> AsyncIterator[RawClient]:
    def small_window(address: Any) -> socket.socket:
        """Whoever does not read is noticed after kilobytes, not after megabytes."""
        made = socket.socket(address[0], address[1], address[2])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        return made

    connector = aiohttp.TCPConnector(socket_factory=small_window)
    async with aiohttp.ClientSession(connector=connector) as http:
        client = RawClient(server, http)
        await client.open(websocket=websocket)
        yield client
