"""The HTTP server: one port, its middleware and routes, and the attached frontends."""

import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web

from gateway.config.settings import Settings
from gateway.core import Core
from gateway.errors import CannotStart
from gateway.http.access_middleware import access_middleware
from gateway.http.avatars import add_avatar_routes
from gateway.http.operations import add_operations_routes
from gateway.security.access import MIN_TOKEN_LENGTH, AccessControl, Tokens, is_local
from gateway.security.origins import Hosts, Origins

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 1.0
"""Limit for open long polls; aiohttp would wait for 10 s and more."""


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
    middleware = access_middleware(access, Hosts(host, listed), Origins(listed))
    app = web.Application(middlewares=[middleware])
    add_operations_routes(app, core)
    add_avatar_routes(app, core.zoo)
    for frontend in frontends:
        frontend.attach(app)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        try:
            await site.start()
        except OSError as error:
            raise CannotStart(f"cannot listen on {host}:{port}: {error.strerror}") from None
        scheme = "https" if tls else "http"
        log.info("listening on %s://%s:%d", scheme, *runner.addresses[0][:2])
        _warn(settings, access.now())
        yield
        for frontend in frontends:
            await frontend.close()
    finally:
        await runner.cleanup()


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
