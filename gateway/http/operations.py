"""Endpoints for operators: /health, /ready, /status, /metrics."""

from collections import Counter

from aiohttp import web

from gateway.core import Core
from gateway.http.status import status
from gateway.observability.prometheus import (
    BY_HOLDER,
    BY_MODEL,
    CONTENT_TYPE,
    Exporter,
    Gauges,
    Labels,
)
from gateway.scheduling.census import Census, census


def add_operations_routes(app: web.Application, core: Core) -> None:
    exporter = Exporter(core.metrics, lambda: gauges(core))

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=exporter.text(), headers={"Content-Type": CONTENT_TYPE})

    async def ready(request: web.Request) -> web.Response:
        reason = core.default.unready(stopping=core.sessions.draining)
        binding, model = core.default.selected()
        answer = {"ready": not reason, "reason": reason, "binding": binding, "model": model}
        return web.json_response(answer, status=503 if reason else 200)

    async def status_now(request: web.Request) -> web.Response:
        return web.json_response(await status(core, counted(core)))

    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/ready", ready)
    app.router.add_get("/status", status_now)


def counted(core: Core) -> Census:
    return census(core.link.fleet, core.dispatcher.queue, core.metrics.parked_now)


def gauges(core: Core) -> Gauges:
    now, queue = counted(core), core.dispatcher.queue
    kept = core.sessions.resumption.retention
    return Gauges(
        sessions=len(core.sessions.connected), running=now.running, waiting=queue.waiting,
        away=kept.away, away_bytes=kept.away_bytes,
        workers=Counter(worker.binding for worker in core.link.fleet.all()),
        parked=core.metrics.parked_now.total(), owners=len(now.holders) + now.addresses,
        affinity_hits=queue.worker_choice.hits,
        by_model=_by_model(now), by_holder=_by_holder(now),
    )  # fmt: skip


def _by_model(now: Census) -> dict[str, Counter[Labels]]:
    """The number of labels is that of models in workers: what waits for others is under ""."""
    found = {name: Counter[Labels]() for name in BY_MODEL}
    for (binding, model), share in now.models.items():
        if not (share.workers or share.loading):
            found["model_waiting"][binding, ""] += share.waiting
            continue
        found["model_waiting"][binding, model] = share.waiting
        found["models_loading"][binding, model] = share.loading
        found["slots"][binding, model] = share.slots
        found["slots_used"][binding, model] = share.used
        found["replicas"][binding, model] = len(share.workers)
        found["replicas_surplus"][binding, model] = len(share.surplus)
    return found


def _by_holder(now: Census) -> dict[str, Counter[Labels]]:
    found = {name: Counter[Labels]() for name in BY_HOLDER}
    for name, share in now.holders.items():
        found["holder_running"][name,] = share.running
        found["holder_waiting"][name,] = share.waiting
        found["holder_parked"][name,] = share.parked
    return found
