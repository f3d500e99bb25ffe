"""The composition root: what is wired to what, and in which order it starts and stops."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from gateway.config.settings import Settings
from gateway.core import Core
from gateway.http.server import http_server
from gateway.inference.default_model import DefaultModel
from gateway.inference.generation_runner import Generations
from gateway.inference.unary_requests import UnaryRequests
from gateway.models.catalog import Catalog
from gateway.models.loading import LoadMessages
from gateway.observability.metrics import Metrics
from gateway.personalities.mounted import Mounted
from gateway.personalities.zoo import Zoo
from gateway.provisioning.supervisor import Supervisor
from gateway.scheduling.dispatcher import Dispatcher
from gateway.scheduling.idle_limit import idle_limit
from gateway.scheduling.policy import Policy
from gateway.scheduling.quarantine import Quarantine
from gateway.scheduling.quotas import Quotas
from gateway.security.access import AccessControl
from gateway.security.tls import server_context
from gateway.security.worker_keys import WorkerKeys, gateway_key
from gateway.sessions.planning import Planning
from gateway.sessions.registry import Sessions, discussion_store
from gateway.sessions.selections import Selections, choose_default
from gateway.socketio.flusher import Flusher
from gateway.socketio.server import SocketIo
from gateway.storage.run_lock import run_lock
from gateway.storage.saved_state import SavedState
from gateway.workers.fleet import Fleet
from gateway.workers.handshake import Handshake
from gateway.workers.health_monitor import HealthMonitor
from gateway.workers.key_watch import KeyWatch
from gateway.workers.link import Link
from gateway.workers.strangers import DISMISSAL
from gateway.workers.zmq_router import RemoteEndpoint
from protocol.run_folder import make_run_folder, workers_address

log = logging.getLogger(__name__)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Core]:
    """Serve until the block ends.

    Raise BadSetting when the settings let in no client, or every client, by mistake;
    CannotStart when the port or the home is in use. Nothing is left behind then.
    """
    began = time.monotonic()
    access, tls = AccessControl(settings), server_context(settings)
    keys = WorkerKeys(settings.home)
    remote = _remote_endpoint(settings, keys)
    run = make_run_folder(settings.home)
    with run_lock(run) as secrets:
        fleet = Fleet()
        # Files, and counters: no part below depends on another.
        state = SavedState(settings.home / "state.json")
        await choose_default(state, settings)
        catalog = Catalog(
            settings.bindings_path, settings.models_path, settings.bindings, fleet.remote_models
        )
        for binding in catalog.binding_names():
            secrets.create(binding)
        zoo = Zoo(settings.personalities_path)
        mounted = Mounted(zoo, state)
        metrics, quotas = Metrics(), Quotas()
        flusher = Flusher(settings.client_limit, metrics)
        # Workers and scheduling.
        provider = Supervisor(settings, run)
        handshake = Handshake(secrets, catalog.has_binding, keys.entry_of)
        link = Link(
            fleet, workers_address(run), handshake, metrics, remote=remote, batch=flusher,
            dismissal=settings.poison_time or DISMISSAL,
        )  # fmt: skip
        quarantine = Quarantine(settings.poison_time)
        loads = LoadMessages(catalog, settings, fleet)
        policy = _policy(settings)
        dispatcher = Dispatcher(
            fleet, link, provider, loads, quarantine, policy, metrics,
            preload=state.model_to_preload,
        )  # fmt: skip
        health = HealthMonitor(
            link, dispatcher.stop_idle,
            stall_limit=settings.stall_limit, load_limit=settings.load_limit,
            keep_alive=lambda worker: idle_limit(
                fleet, worker, policy, settings.keep_alive_of(worker.binding, worker.model)
            ),
        )  # fmt: skip
        key_watch = KeyWatch(link, keys.has_entry)
        # What clients use.
        sessions = Sessions(settings.resume_window, discussion_store(settings), metrics)
        resumption = sessions.resumption
        selections = Selections(state, catalog, mounted, dispatcher, resumption)
        core = Core(
            settings=settings, metrics=metrics, began=began,
            catalog=catalog, zoo=zoo, mounted=mounted, selections=selections,
            planning=Planning(selections, mounted, resumption, settings),
            generations=Generations(
                dispatcher, link, quarantine, metrics, client_limit=settings.client_limit
            ),
            unary=UnaryRequests(dispatcher, link),
            sessions=sessions, quotas=quotas,
            default=DefaultModel(lambda: state.default, dispatcher, link),
            link=link, dispatcher=dispatcher, quarantine=quarantine, provider=provider,
        )  # fmt: skip
        frontends = [SocketIo(core, flusher, access)]
        async with (
            link.serving(dispatcher),
            _closing(dispatcher),
            _closing(sessions),
            flusher,
            http_server(core, access, tls, frontends),
            _background(
                core.default.keep_loaded(), health.run(), key_watch.run(), metrics.watch_loop()
            ),
        ):
            yield core


def _policy(settings: Settings) -> Policy:
    return Policy(
        max_queue=settings.max_queue, max_waiting=settings.max_waiting,
        park_after=settings.park_after, slice=settings.slice, max_models=settings.max_models,
        rejoin_limit=settings.rejoin_limit,
        processes=settings.processes, replicas=settings.replicas,
    )  # fmt: skip


def _remote_endpoint(settings: Settings, keys: WorkerKeys) -> RemoteEndpoint | None:
    if not settings.workers_tcp:
        return None
    key = gateway_key(settings.home)
    return RemoteEndpoint(f"tcp://{settings.workers_tcp}", key, keys.has_key)


@asynccontextmanager
async def _background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run in tasks until the block ends."""
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("a background task failed, and runs no more", exc_info=error)


@asynccontextmanager
async def _closing(part: Dispatcher | Sessions) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await part.close()
