"""How is sent what no client library would send? Engine.IO as text, and every packet remembered."""

import asyncio
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from tests.harness import PATIENCE, Event, Home

QUESTION = "are you there?"
"""No event, but an answer comes to that, too."""
ANSWER = '"event":"are you there?"}]'

GREETING = '42["session",'
"""Follows the connect by itself."""


class Line:
    """One connection. `packets` are those that came, in order, without pings."""

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

    async def came(self, packet: str) -> None:
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
        """The first packet from `start` on; "" when the connection ends without."""
        async with asyncio.timeout(PATIENCE), self._news:
            while True:
                for packet in self.packets[start:]:
                    if found(packet):
                        return packet
                start = len(self.packets)
                if self.closed:
                    return ""
                await self._news.wait()

    async def heard(self, start: int) -> list[str]:
        """What came since, and with certainty: a question is asked and answered."""
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
        """Send `payload` as it is; the events that came of it, the acknowledgement, the seconds."""
        id, start = next(self._ids), len(self.packets)
        kind = "51-" if attachment else "2"
        began = asyncio.get_running_loop().time()
        await self.send(f"4{kind}{id}[{json.dumps(event)}{',' * bool(payload)}{payload}]")
        if attachment:
            await self.send(b"abc")
        ack = await self.until(lambda packet: packet.startswith(f"43{id}["), start)
        took = asyncio.get_running_loop().time() - began
        assert ack, f"{event}: the connection ended"
        packets = [packet for packet in await self.heard(start) if packet != ack]
        assert all(packet.startswith("42[") for packet in packets), packets
        events = [(name, data) for name, data in (json.loads(packet[2:]) for packet in packets)]
        [acknowledged] = json.loads(ack.partition("[")[1] + ack.partition("[")[2])
        return events, acknowledged, took


class Websocket(Line):
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
                await self.came(message.data)
        await self.end()

    async def close(self) -> None:
        await self._socket.close()
        await self._reader


class Polling(Line):
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
                        await self.came(packet)
                    if packet == "1":
                        return await self.end()
        await self.end()

    async def close(self) -> None:
        with suppress(aiohttp.ClientError, ConnectionError):
            await self.send("1")
        await self._reader


@asynccontextmanager
async def line(server: Home, kind: type[Line] = Websocket) -> AsyncIterator[Line]:
    async with aiohttp.ClientSession() as http:
        opened = kind(server, http)
        await opened.open()
        try:
            yield opened
        finally:
            await opened.close()
