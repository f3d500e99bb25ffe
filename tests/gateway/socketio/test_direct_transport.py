"""Frames written past engineio: what they look like, and what engineio must be like for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import aiohttp
import pytest
import socketio
from aiohttp import web

from gateway.observability.metrics import Metrics
from gateway.socketio import engineio_hooks
from gateway.socketio.direct_transport import BINARY, PacketQueue, frame
from gateway.socketio.encoder import PACKETS_A_POLL
from gateway.socketio.flusher import Flusher
from gateway.socketio.send_queue import SendQueue
from tests.support.harness import free_port, run


def test_the_installed_engineio_is_as_this_project_needs_it() -> None:
    """Fails when python-socketio or python-engineio changed inside: look through
    gateway/socketio/engineio_hooks.py with the new version, then change TESTED there and the
    pins in pyproject.toml."""
    assert engineio_hooks.unknown_engineio(socketio.AsyncServer(async_mode="aiohttp")) == ""
    for name, known in engineio_hooks.TESTED.items():
        assert version(name).startswith(known)


def test_another_engineio_is_noticed_and_named() -> None:
    other = socketio.AsyncServer(async_mode="asgi")
    assert "websockets in another way" in engineio_hooks.unknown_engineio(other)
    unlike = socketio.AsyncServer(async_mode="aiohttp")
    del unlike.eio.sockets
    assert "no sockets any more" in engineio_hooks.unknown_engineio(unlike)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_frame_is_what_websocket_clients_read(size: int) -> None:
    async def scenario() -> None:
        async def handle(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse(compress=False)
            await socket.prepare(request)
            assert request.transport
            text, raw = frame(b"t" * size), frame(b"b" * size, BINARY)
            request.transport.write(text + raw + text)
            await socket.close()
            return socket

        app = web.Application()
        app.router.add_get("/", handle)
        async with (
            serving(app) as url,
            aiohttp.ClientSession() as http,
            http.ws_connect(url, compress=15) as client,
        ):
            assert await client.receive_str() == "t" * size
            assert await client.receive_bytes() == b"b" * size
            assert await client.receive_str() == "t" * size

    run(scenario())


def test_a_portion_is_no_more_than_a_client_takes() -> None:
    async def scenario() -> None:
        emptied: list[int] = []
        queue = PacketQueue(lambda: emptied.append(queue.pending))
        for n in range(40):
            await queue.put(n)
        portions = []
        while queue.pending:
            portion = [await queue.get()]
            queue.task_done()
            try:
                while True:
                    portion.append(queue.get_nowait())
                    queue.task_done()
            except asyncio.QueueEmpty:
                portions.append(portion)
        assert [len(portion) for portion in portions] == [PACKETS_A_POLL, PACKETS_A_POLL, 8]
        assert [n for portion in portions for n in portion] == list(range(40)) and emptied == [0]

    run(scenario())


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(
    transports: list[str], on_event: Callable[[SendQueue, Any], Any]
) -> AsyncIterator[tuple[list[Any], socketio.AsyncClient]]:
    """A server that answers the event `go` by `on_event`, and what its one client got."""
    sio = socketio.AsyncServer(async_mode="aiohttp")
    flusher = Flusher(0, Metrics())
    engineio_hooks.install(sio, 2**20, flusher.room_freed)
    queues: dict[str, SendQueue] = {}

    async def connect(sid: str, environ: Any, auth: Any) -> None:
        queues[sid] = SendQueue(engineio_hooks.direct_transport(sio, sid), flusher)

    async def go(sid: str, data: Any) -> Any:
        return on_event(queues[sid], data)

    sio.on("connect", connect)
    sio.on("go", go)
    app = web.Application()
    sio.attach(app)
    got: list[Any] = []
    async with serving(app) as url:
        client = socketio.AsyncClient(reconnection=False)
        client.on("*", lambda event, data: got.append((event, data)))
        await client.connect(url, transports=transports)
        try:
            yield got, client
        finally:
            await client.disconnect()
            await sio.shutdown()
            flusher.close()


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
def test_events_and_acknowledgements_arrive_in_the_order_in_which_they_were_made(
    transports: list[str],
) -> None:
    def answer(queue: SendQueue, number: int) -> int:
        for n in range(20):
            queue.event("reply", {"of": number, "n": n, "text": "é\U0001f600\x1e" * 20})
        return number

    async def scenario() -> None:
        async with connected(transports, answer) as (got, client):
            # 16 at once is what python-engineio puts into one request, and more than it takes.
            numbers = await asyncio.gather(*(client.call("go", n) for n in range(12)))
            assert numbers == list(range(12))
            while len(got) < 240:
                await asyncio.sleep(0.01)
            assert [(data["of"], data["n"]) for _, data in got] == [
                (number, n) for number in range(12) for n in range(20)
            ]
            assert {data["text"] for _, data in got} == {"é\U0001f600\x1e" * 20}

    run(scenario())


def test_large_and_small_ones_stay_whole_and_in_order() -> None:
    def answer(queue: SendQueue, number: int) -> None:
        for n in range(100):
            queue.event("reply", {"n": n, "text": "x" * (200_000 if n % 7 == 0 else 10)})

    async def scenario() -> None:
        async with connected(["websocket"], answer) as (got, client):
            await client.call("go", 1)
            while len(got) < 100:
                await asyncio.sleep(0.01)
            assert [data["n"] for _, data in got] == list(range(100))
            assert json.dumps(got).count("x" * 200_000) == 15

    run(scenario())
