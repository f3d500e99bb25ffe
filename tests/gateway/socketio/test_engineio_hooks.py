"""A connection that never becomes a session is closed, and only that."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import socketio
from aiohttp import WSMsgType, web
from socketio.exceptions import ConnectionRefusedError

from gateway.socketio import engineio_hooks
from gateway.socketio.packets import REQUEST, Packet
from gateway.socketio.payloads import Rejected
from tests.gateway.socketio.test_direct_transport import serving
from tests.support.harness import PATIENCE, run


@asynccontextmanager
async def served(sio: socketio.AsyncServer, rate: int = 0) -> AsyncIterator[str]:
    engineio_hooks.install(sio, 10_000, lambda: None, timeout=0.2, rate=rate)
    app = web.Application()
    sio.attach(app)
    async with serving(app) as url:
        yield url


async def closed_by_the_server(url: str, packet: str = "") -> None:
    """Come, say that at most, and stay until the server ends it."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}socket.io/?EIO=4&transport=websocket") as websocket,
    ):
        if packet:
            await websocket.send_str(packet)
        while (message := await websocket.receive(PATIENCE)).type == WSMsgType.TEXT:
            pass
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)


@pytest.mark.parametrize("packet", ["", "40", '40{"token":"wrong"}'])
def test_who_never_comes_in_is_shown_out(packet: str) -> None:
    """Silent, or refused and still there."""

    async def scenario() -> None:
        sio = socketio.AsyncServer(async_mode="aiohttp")

        def connect(sid: str, environ: Any, auth: Any = None) -> None:
            raise ConnectionRefusedError("no")

        sio.on("connect", connect)
        async with served(sio) as url:
            await closed_by_the_server(url, packet)
            assert not sio.eio.sockets

    run(scenario())


def test_who_is_in_stays() -> None:
    async def scenario() -> None:
        sio = socketio.AsyncServer(async_mode="aiohttp")
        sio.on("connect", lambda sid, environ: None)
        sio.on("echo", lambda sid, data: data)
        async with served(sio) as url:
            client = socketio.AsyncClient(reconnection=False)
            await client.connect(url, transports=["websocket"])
            await closed_by_the_server(url)  # who came later has been looked at
            assert await client.call("echo", 1) == 1
            await client.disconnect()

    run(scenario())


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_who_sends_more_bytes_than_it_may_is_told_so_for_each_event(transport: str) -> None:
    async def scenario() -> None:
        sio = socketio.AsyncServer(async_mode="aiohttp", serializer=Packet)
        sio.on("connect", lambda sid, environ: None)

        def request(sid: str, event: str, data: Any) -> tuple[str, Any]:
            return event, data.why if isinstance(data, Rejected) else len(data)

        sio.on(REQUEST, request)
        async with served(sio, rate=1000) as url:
            one, other = (socketio.AsyncClient(reconnection=False) for _ in range(2))
            for each in (one, other):
                await each.connect(url, transports=[transport])
            for size in (900, 1000):  # two seconds' worth at once
                assert await one.call("a", "x" * size) == ("a", size)
            event, why = await one.call("a", "x" * 2000)
            assert event == "a" and why.startswith("rate limit exceeded: 1,000 bytes per second")
            assert await other.call("a", "x") == ("a", 1)
            await one.disconnect()
            await other.disconnect()

    run(scenario())
