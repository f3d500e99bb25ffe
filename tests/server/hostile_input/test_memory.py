"""Clients that attack the gateway's memory together cost at most 64 MiB."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.server.hostile_input.test_zoo import prepared
from tests.support.engineio_lines import EngineIoConnection, Polling, Websocket
from tests.support.harness import Home, client, run

MOST = 64 * 2**20
STALLED, ANNOUNCERS, FLOODERS, LONG, LISTERS = 20, 30, 4, 2, 2
EVENTS, WAVE = 2_000, 500


def resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@contextmanager
def watched(pid: int, counts: Counter[str]) -> Iterator[None]:
    """Record the highest increase of resident memory during the block."""
    before, over = resident(pid), threading.Event()
    most = [before]

    def watch() -> None:
        while not over.wait(0.02):
            most[0] = max(most[0], resident(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        counts["MiB more at most"] = (most[0] - before) >> 20


def small_window(address: Any) -> socket.socket:
    """With a small buffer the gateway soon notices that the client does not read."""
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    return made


@asynccontextmanager
async def unread(server: Home) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A websocket that is not read after the connect."""
    connector = aiohttp.TCPConnector(socket_factory=small_window)
    async with aiohttp.ClientSession(connector=connector) as http:
        url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
        async with http.ws_connect(url, max_msg_size=2**16) as opened:
            await opened.send_str("40")
            while not (await opened.receive_str()).startswith("40"):
                pass
            yield opened
            opened._reader.exception() or opened._response.close()  # closed unread


class Attack:
    def __init__(self, server: Home, counts: Counter[str]) -> None:
        self._server, self._counts = server, counts
        self.enough = asyncio.Event()

    async def stalled(self) -> None:
        async with unread(self._server) as opened:
            asked = '42["generate_text",{"prompt":"x","n_predicts":500000}]'
            await opened.send_str(asked)
            self._counts["slow clients"] += 1
            await self.enough.wait()

    async def lister(self) -> None:
        """Requests long listings and does not read them."""
        async with unread(self._server) as opened:
            for _ in range(500):
                await opened.send_str('42["list_available_bindings"]')
                await opened.send_str('42["list_available_personalities"]')
            self._counts["listings unread"] += 1000
            await self.enough.wait()

    async def announcer(self) -> None:
        async with self._connection(Websocket) as connected:
            for _ in range(50):
                withheld = '{"_placeholder":true,"num":1}'
                await connected.send(
                    f'451000000000-["tokenize",{{"prompt":{withheld},"a":"{"x" * 10_000}"}}]',
                    b"y" * 1000,
                )
            self._counts["attachments announced"] += 50
            await connected.received_since(0)

    async def flooder(self) -> None:
        async with self._connection(Websocket) as connected:
            for start in range(0, EVENTS, WAVE):
                for _ in range(WAVE):
                    await connected.send('42["list_active_personalities"]')
                await connected.received_since(start)
            self._counts["events in floods"] += EVENTS
            answers = sum(packet.startswith("42[") for packet in connected.packets)
            assert answers >= EVENTS, answers

    async def long(self, kind: type[EngineIoConnection], size: int) -> None:
        for _ in range(3):
            async with self._connection(kind) as connected:
                asked = f'42["generate_text",{{"prompt":"{"x" * size}"}}]'
                with suppress(ConnectionError):  # the gateway closes the websocket during the send
                    await connected.send(asked)
                told = await connected.until(lambda packet: "bytes" in packet)
                assert ("generation_error" if kind is Polling else '42["error"') in told, told
                self._counts["prompts of 10 MB"] += 1

    @asynccontextmanager
    async def _connection(
        self, kind: type[EngineIoConnection]
    ) -> AsyncIterator[EngineIoConnection]:
        async with aiohttp.ClientSession() as http:
            opened = kind(self._server, http)
            await opened.open()
            try:
                yield opened
            finally:
                await opened.close()

    async def all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(STALLED):
                group.create_task(self.stalled())
            for _ in range(LISTERS):
                group.create_task(self.lister())
            busy: list[Coroutine[Any, Any, None]] = [self.announcer() for _ in range(ANNOUNCERS)]
            busy += [self.flooder() for _ in range(FLOODERS)]
            for _ in range(LONG):
                busy += [self.long(Websocket, 10_000_000), self.long(Polling, 10_000_000)]
            await asyncio.gather(*busy)
            await self._lists()
            self.enough.set()

    async def _lists(self) -> None:
        """A well-behaved client lists the hostile zoo."""
        async with client(self._server) as connected:
            for _ in range(5):
                zoo = await connected.sio.call("list_available_personalities", timeout=20)
                assert zoo["success"]
                self._counts["bombs listed"] += 1


@pytest.mark.timeout(300)
def test_all_of_it_together(server: Home, folders: Path, block: Callable[..., Any]) -> None:
    counts: Counter[str] = Counter()

    async def scenario() -> None:
        await Attack(server, counts).all()

    with prepared(folders), block("memory", counts), watched(server.processes[0].pid, counts):
        run(scenario(), 250)
    assert counts["MiB more at most"] << 20 <= MOST
