"""A connection whose request does not arrive is closed; one that waits for its answer is not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web

from gateway.http.unfinished_requests import LIMIT, MIN_RATE, UnfinishedRequests
from tests.support.harness import PATIENCE, run

SECOND = 0.02
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Served:
    """A server in which a second lasts SECOND."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def echo(self, request: web.Request) -> web.Response:
        self.asked.set()
        return web.Response(text=str(len(await request.read())))

    async def poll(self, request: web.Request) -> web.Response:
        self.asked.set()
        await self.answers.wait()
        return web.Response(text="at last")

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def open(self, *sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for each in sent:
            writer.write(each)
            await writer.drain()
        return reader, writer


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    unfinished = UnfinishedRequests(SECOND)
    here = Served(0)
    app = web.Application(middlewares=[unfinished.middleware])
    app.router.add_post("/echo", here.echo)
    app.router.add_get("/poll", here.poll)
    app.router.add_get("/websocket", here.websocket)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    assert runner.server
    make = unfinished.protocol(runner.server)
    listener = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    here.port = listener.sockets[0].getsockname()[1]
    try:
        async with unfinished.closing():
            yield here
    finally:
        listener.close()
        await runner.cleanup()


async def closed(reader: asyncio.StreamReader) -> bytes:
    """All that still comes until the server closes it."""
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionResetError):
            return await reader.read()
        return b""


async def long() -> None:
    await asyncio.sleep(3 * LIMIT * SECOND)


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"GET /poll HTTP/1.1\r\nHost: x\r\nX-Half: ", POST % 9, POST % 9 + b"half"],
    ids=["nothing", "a letter", "half a header", "no body", "half a body"],
)
def test_what_does_not_go_on_is_closed(sent: bytes) -> None:
    async def scenario() -> None:
        async with served() as here:
            reader, writer = await here.open(sent)
            assert await closed(reader) == b""
            writer.close()

    run(scenario())


@pytest.mark.parametrize("begin", [b"GET /poll HTTP/1.1\r\n", POST % 1_000_000])
def test_a_byte_now_and_then_is_no_progress(begin: bytes) -> None:
    async def scenario() -> None:
        async with served() as here:
            reader, writer = await here.open(begin)
            ended = asyncio.create_task(closed(reader))
            while not ended.done():
                writer.write(b"x")
                await asyncio.sleep(SECOND)
            writer.close()

    run(scenario())


def test_a_slow_upload_that_goes_on_is_served() -> None:
    portion = b"x" * 2 * MIN_RATE
    count = 4 * LIMIT

    async def scenario() -> None:
        async with served() as here:
            reader, writer = await here.open(POST % (count * len(portion)))
            for _ in range(count):
                writer.write(portion)
                await asyncio.sleep(SECOND)
            answer = await asyncio.wait_for(reader.readuntil(b"80000"), PATIENCE)
            assert answer.startswith(b"HTTP/1.1 200")
            writer.close()

    run(scenario())


def test_a_long_poll_and_a_websocket_and_an_idle_connection_stay() -> None:
    async def scenario() -> None:
        async with served() as here, aiohttp.ClientSession(f"http://127.0.0.1:{here.port}") as http:
            reader, writer = await here.open(POST % 2 + b"ab")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n2"), PATIENCE)
            websocket = await http.ws_connect("/websocket")
            here.asked.clear()
            poll = asyncio.create_task(http.get("/poll"))
            await here.asked.wait()
            await long()
            here.answers.set()
            async with await poll as answer:
                assert await answer.text() == "at last"
            await websocket.send_str("still there")
            assert await websocket.receive_str() == "still there"
            await websocket.close()
            writer.write(POST % 3 + b"abc")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n3"), PATIENCE)
            writer.write(b"POST /ec")  # the next one has its own limit
            assert await closed(reader) == b""
            writer.close()

    run(scenario())
