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
from tests.gateway.socketio.test_direct_transport import serving
from tests.support.harness import PATIENCE, run


@asynccontextmanager
async def served(sio: socketio.AsyncServer) -> AsyncIterator[str]:
    engineio_hooks.install(sio, 10_000, lambda: None, timeout=0.2)
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
