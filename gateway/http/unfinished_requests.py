"""Close connections whose request does not arrive: no whole header, or a stalled body.

aiohttp has one timeout for all of this, that of idle connections, which proxies need long.
Here a protocol stands in front of aiohttp's and sees which bytes arrive when; a middleware
tells it when a request begins and ends. Neither a request that has arrived and waits for its
answer, such as a long poll, nor a websocket is touched.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LIMIT = 10
"""Seconds for a header, from the connection or from its first byte; and for a body that stalls."""
MIN_RATE = 1000
"""Bytes a second at which a body makes progress: a byte now and then does not keep it alive."""


class UnfinishedRequests:
    """Watches the connections of one server while `closing` runs.

    The middleware must be the outermost one: what it does not see counts as unfinished.
    """

    def __init__(self, second: float = 1.0) -> None:
        """`second` is for tests, which have no time."""
        self._second = second
        self._connections: dict[asyncio.BaseTransport, _Connection] = {}

    def protocol(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """A protocol factory for `create_server`, from that of aiohttp."""
        return lambda: _Connection(make(), self._connections)

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
            transport = request.transport
            connection = self._connections.get(transport) if transport else None
            if connection is None:
                return await handler(request)  # it has gone already
            connection.begin(request)
            try:
                return await handler(request)
            finally:
                connection.end()

        return watch

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[None]:
        """Close unfinished connections until the block ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        """Turns are counted, not time: when the loop was held up, bytes may wait unread."""
        while True:
            await asyncio.sleep(self._second)
            for connection in list(self._connections.values()):
                connection.second_passed()


class _Connection(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, and measures the request that arrives."""

    def __init__(
        self, inner: asyncio.Protocol, connections: dict[asyncio.BaseTransport, "_Connection"]
    ) -> None:
        self._inner = inner
        self._connections = connections
        self._request: web.Request | None = None
        """The one whose header has arrived and whose answer is not yet made."""
        self._header = True
        """Without a request: one is on its way. A new connection owes the first one."""
        self._bytes = 0
        self._waited = 0.0
        """Seconds without progress."""

    def begin(self, request: web.Request) -> None:
        self._request, self._header, self._waited = request, False, 0.0

    def end(self) -> None:
        self._request = None

    def second_passed(self) -> None:
        received, self._bytes = self._bytes, 0
        if self._request is None:
            unfinished = self._header
        else:
            unfinished = not self._request.content.is_eof()
            self._waited = max(0.0, self._waited - received / MIN_RATE)
        self._waited = self._waited + 1 if unfinished else 0.0
        if self._waited >= LIMIT:
            self._transport.abort()

    # The protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections[transport] = self
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            self._header = True
        else:
            self._bytes += len(data)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.pop(self._transport, None)
        self._inner.connection_lost(error)
