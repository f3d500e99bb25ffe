"""Connections whose request does not arrive do not keep their file descriptors."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from tests.support.engineio_lines import EngineIoConnection, Polling, Websocket, engineio_connection
from tests.support.harness import ROOT, Home, home, run

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "echo"}
HALF = [
    b"",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Half: ",
    b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n",
]
EACH = 14
SECONDS = 15.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home(tmp_path_factory.mktemp("home"), **ECHO) as opened:
        opened.gateway()
        yield opened


async def closed_after(server: Home, sent: bytes) -> float:
    """Seconds until the server closes a connection that sends no more than this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    began = time.monotonic()
    writer.write(sent)
    with suppress(ConnectionResetError):
        await reader.read()
    writer.close()
    return time.monotonic() - began


async def asked(connected: EngineIoConnection) -> None:
    start = len(connected.packets)
    await connected.send('42["list_active_personalities"]')
    await connected.until(lambda packet: "active_personalities_list" in packet, start)


def test_forty_halves_of_a_header_are_closed_while_a_poll_and_a_websocket_live(
    server: Home,
) -> None:
    async def scenario() -> list[float]:
        async with (
            engineio_connection(server, Polling) as polls,
            engineio_connection(server, Websocket) as websocket,
        ):
            await asyncio.gather(asked(polls), asked(websocket))
            async with asyncio.timeout(SECONDS):
                seconds = await asyncio.gather(
                    *(closed_after(server, each) for each in HALF for _ in range(EACH))
                )
            await asyncio.gather(asked(polls), asked(websocket))
            return seconds

    seconds = run(scenario())
    assert len(seconds) == EACH * len(HALF) and min(seconds) > 5, seconds


def test_a_body_that_stalls_is_closed_and_a_slow_one_is_served(server: Home) -> None:
    body = ('42["tokenize",{"prompt":"' + "x" * 3_000_000 + '"}]').encode()
    portion = len(body) // 24

    async def slowly() -> AsyncIterator[bytes]:
        for at in range(0, len(body), portion):
            yield body[at : at + portion]
            await asyncio.sleep(0.5)

    async def scenario() -> tuple[int, float]:
        async with engineio_connection(server, Polling) as polls:
            half = (
                f"POST {polls.url.removeprefix(server.url)} HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Length: {len(body)}\r\n\r\n4"
            )
            upload = polls.http.post(polls.url, data=slowly())
            answer, stalled = await asyncio.gather(upload, closed_after(server, half.encode()))
            async with answer:
                await polls.until(lambda packet: packet.startswith('42["tokenized"'))
                return answer.status, stalled

    status, stalled = run(scenario())
    assert status == 200 and 5 < stalled < SECONDS
