"""The HTTP server: one port, its middleware and routes, and the attached frontends."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from aiohttp import web

from gateway.config.settings import Settings
from gateway.core import Core
from gateway.errors import CannotStart
from gateway.http.access_middleware import access_middleware
from gateway.http.avatars import add_avatar_routes
from gateway.http.operations import add_operations_routes
from gateway.http.unfinished_requests import UnfinishedRequests
from gateway.security.access import MIN_TOKEN_LENGTH, AccessControl, Tokens, is_local
from gateway.security.origins import Hosts, Origins

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 1.0
"""Limit for open long polls; aiohttp would wait for 10 s and more."""
KEEPALIVE_SECONDS = 75.0
"""Until a connection between two requests is closed; longer than proxies keep theirs."""
BACKLOG = 128
"""Connections that wait to be accepted, as in aiohttp."""
TLS_SECONDS = 10.0
"""For a TLS handshake; asyncio would wait for 60 s."""


class Frontend(Protocol):
    def attach(self, app: web.Application) -> None:
        """Add its routes, before the server listens."""

    async def close(self) -> None:
        """End its clients; the server still listens."""


@asynccontextmanager
async def http_server(
    core: Core, access: AccessControl, tls: ssl.SSLContext | None, frontends: Sequence[Frontend]
) -> AsyncIterator[None]:
    """Listen until the block ends. Raise CannotStart when it cannot be bound."""
    settings = core.settings
    host, port, listed = settings.host, settings.port, settings.cors_origins
    unfinished = UnfinishedRequests()
    access_check = access_middleware(access, Hosts(host, listed), Origins(listed))
    app = web.Application(middlewares=[unfinished.middleware, access_check])
    add_operations_routes(app, core)
    add_avatar_routes(app, core.zoo)
    for frontend in frontends:
        frontend.attach(app)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS,
        keepalive_timeout=KEEPALIVE_SECONDS,
    )  # fmt: skip
    await runner.setup()
    async with AsyncExitStack() as started:  # stopped in reverse order, all of it
        started.push_async_callback(runner.cleanup)
        await started.enter_async_context(unfinished.closing())
        assert runner.server
        listener = await _listen(unfinished.protocol(runner.server), host, port, tls)
        started.callback(listener.close)
        for frontend in frontends:
            started.push_async_callback(_close, frontend)
        scheme = "https" if tls else "http"
        log.info("listening on %s://%s:%d", scheme, *listener.sockets[0].getsockname()[:2])
        _warn(settings, access.now())
        yield


async def _listen(
    protocol: Callable[[], asyncio.Protocol], host: str, port: int, tls: ssl.SSLContext | None
) -> asyncio.Server:
    handshake = TLS_SECONDS if tls else None
    try:
        return await asyncio.get_running_loop().create_server(
            protocol, host, port, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=handshake
        )
    except OSError as error:
        raise CannotStart(f"cannot listen on {host}:{port}: {error.strerror}") from None


async def _close(frontend: Frontend) -> None:
    try:
        await frontend.close()
    except Exception:
        log.exception("a frontend could not be closed")


def _warn(settings: Settings, tokens: Tokens) -> None:
    for name in tokens.short:
        log.warning(
            "the token %s is shorter than %d characters and can be guessed", name, MIN_TOKEN_LENGTH
        )
    if not is_local(settings.host):
        if not tokens.guarded:
            log.warning("whoever reaches this machine may use this server (--insecure)")
        if settings.ssl_certfile is None:
            log.warning("texts and tokens cross the network unencrypted: see --ssl_certfile")
