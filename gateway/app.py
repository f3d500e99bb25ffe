"""What is wired to what, in which order does it start and stop?"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from gateway.config.settings import Settings
from gateway.core import Server
from gateway.errors import Busy, CannotStart, LoadFailed, NoWorker
from gateway.http.access_middleware import door
from gateway.http.avatars import add_avatar_routes
from gateway.http.status import status
from gateway.models.catalog import Catalog
from gateway.observability.metrics import CONTENT_TYPE
from gateway.personalities.zoo import Zoo
from gateway.provisioning.supervisor import Supervision
from gateway.scheduling.dispatcher import Dispatch
from gateway.scheduling.quarantine import Poison
from gateway.security.access import SHORT, Access, Current, of_this_machine
from gateway.security.origins import Hosts, Origins
from gateway.security.tls import server_context
from gateway.security.worker_keys import Guests, gateway_key
from gateway.socketio.server import Sockets
from gateway.storage.run_lock import claimed
from gateway.storage.saved_state import SavedState
from gateway.workers.fleet import Fleet
from gateway.workers.handshake import Greeter
from gateway.workers.health_monitor import Minder
from gateway.workers.link import Link
from gateway.workers.zmq_router import Tcp
from protocol.run_folder import make_run_folder, workers_address

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 1.0
"""aiohttp waits for open long polls, ten seconds and more, unless it is told not to."""


WARM_SECONDS = 2.0
"""Between looks whether the default model is still there."""


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Server]:
    """A server that answers clients, from here to the end of the block.

    Raise CannotStart, with nothing left behind, when the port or the home is in use, and
    BadSetting when nobody, or anybody, could come in.
    """
    access, tls = Current(settings), server_context(settings)
    key = gateway_key(settings.home) if settings.workers_tcp else None
    run = make_run_folder(settings.home)
    with claimed(run) as secret:
        state = SavedState(settings.home / "state.json")
        zoo = Zoo(settings.personalities_path)
        catalog = Catalog(settings.bindings_path, settings.models_path, settings.bindings)
        supervision = Supervision(settings, run)
        fleet = Fleet()
        dispatch = Dispatch(
            fleet,
            start=supervision.start_worker,
            post_mortem=supervision.post_mortem,
            max_queue=settings.max_queue,
        )
        server = Server(settings, state, zoo, catalog, dispatch)
        guests = Guests(settings.home)
        greeter = Greeter(secret, lambda name: name in catalog.binding_names(), guests.knows_secret)
        link = Link(fleet, workers_address(run), greeter, dispatch)
        dispatch.link = server.link = link
        if key:
            link.router.tcp = Tcp(f"tcp://{settings.workers_tcp}", key, guests.knows_key)
        link.metrics = server.metrics
        link.poison = Poison(settings.poison_time)
        link.router.before_drain, link.router.after_drain = server.desk.hold, server.desk.flush
        dispatch.recipe, dispatch.wanted = server.load_recipe, server.wanted
        minder = Minder(
            link,
            stall_limit=settings.stall_limit,
            load_limit=settings.load_limit,
            keep_alive=settings.keep_alive,
            stop_worker=supervision.stop_worker,
        )
        async with link, _closing(dispatch), _web(server, supervision, access, tls):
            await server.choose_default()
            async with (
                _task(_warm(server)),
                _task(minder.run()),
                _task(server.metrics.watch_loop()),
            ):
                yield server


@asynccontextmanager
async def _web(
    server: Server, supervision: Supervision, access: Current, tls: ssl.SSLContext | None
) -> AsyncIterator[None]:
    host, port = server.settings.host, server.settings.port
    sockets = Sockets(server, server.desk, access)
    listed = server.settings.cors_origins
    app = web.Application(middlewares=[door(access, Hosts(host, listed), Origins(listed))])
    app.router.add_get("/health", _health)
    app.router.add_get("/metrics", lambda request: _metrics(server))
    app.router.add_get("/ready", lambda request: _ready(server))
    app.router.add_get("/status", lambda request: _status(server, supervision))
    add_avatar_routes(app, server.zoo)
    sockets.attach(app)
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
        _warn(server.settings, access.now())
        yield
        await sockets.close()
    finally:
        server.desk.close()
        await runner.cleanup()


def _warn(settings: Settings, access: Access) -> None:
    for name in access.short:
        log.warning("the token %s is shorter than %d characters and can be guessed", name, SHORT)
    if not of_this_machine(settings.host):
        if not access.guarded:
            log.warning("whoever reaches this machine may use this server (--insecure)")
        if settings.ssl_certfile is None:
            log.warning("texts and tokens cross the network as they are: see --ssl_certfile")


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _metrics(server: Server) -> web.Response:
    return web.Response(body=server.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


async def _ready(server: Server) -> web.Response:
    reason = server.unready()
    binding, model = server.selection()
    answer = {"ready": not reason, "reason": reason, "binding": binding, "model": model}
    return web.json_response(answer, status=503 if reason else 200)


async def _status(server: Server, supervision: Supervision) -> web.Response:
    return web.json_response(await status(server, supervision))


async def _warm(server: Server) -> None:
    """Keep the default model loaded, so that the first client does not have to wait for it.

    What failed is left alone for longer each time, but not for ever.
    """
    said = ""
    while True:
        try:
            selected = server.selection()
            spared = server.dispatch.circuits.spared(*selected, time.monotonic())
            if server.cold() and not spared:
                await server.dispatch.ensure(*selected)
                said = ""
        except (Busy, LoadFailed, NoWorker) as error:
            if str(error) != said:
                log.warning("the default model cannot serve yet: %s", error)
            said = str(error)
        await asyncio.sleep(WARM_SECONDS)


@asynccontextmanager
async def _task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs beside the block, and not longer."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _closing(dispatch: Dispatch) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await dispatch.close()
