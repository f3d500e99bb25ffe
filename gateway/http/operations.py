"""Endpoints for operators: /health, /ready, /status, /metrics."""

from collections import Counter

from aiohttp import web

from gateway.core import Core
from gateway.http.status import status
from gateway.observability.prometheus import CONTENT_TYPE, Exporter, Gauges


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
        return web.json_response(await status(core, gauges(core)))

    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/ready", ready)
    app.router.add_get("/status", status_now)


def gauges(core: Core) -> Gauges:
    waiting = core.dispatcher.waiting
    workers = Counter(worker.binding for worker in core.link.fleet.all())
    sessions = core.sessions
    running = max(0, sessions.running - waiting)
    kept = sessions.resumption.retention
    return Gauges(
        sessions=len(sessions.connected), running=running, waiting=waiting,
        away=kept.away, away_bytes=kept.away_bytes, workers=workers,
    )  # fmt: skip
