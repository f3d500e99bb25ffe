"""GET /status: the state of workers, queue, circuits and quarantine, in one JSON object.

Dead workers are not listed. A silent, frozen or stalled worker has that state at once, before
the health monitor ends it.
"""

import os
import time
from dataclasses import asdict
from typing import Any

from gateway.core import Core
from gateway.scheduling.census import Census
from gateway.workers.worker import Worker

STALL_FRACTION = 0.25
"""Part of the stall limit after which a busy worker is called stalled."""
STALL_SECONDS = 15.0
"""The same in seconds, when there is no stall limit."""


async def status(core: Core, counted: Census) -> dict[str, Any]:
    """The object. It has no texts, addresses or tokens of users; of paths, those that a card
    names."""
    now = time.monotonic()
    binding, model = core.default.selected()
    stopping = core.sessions.draining
    reason = core.default.unready(stopping=stopping)
    metrics, dispatcher = core.metrics, core.dispatcher
    return {
        "ready": not reason,
        "reason": reason,
        "selected": {"binding": binding, "model": model},
        "pid": os.getpid(),
        "uptime": round(now - core.began, 1),
        "stopping": stopping,
        "clients": len(core.sessions.connected),
        "away": len(core.sessions.resumption.away),
        "queue": {
            "running": counted.running,
            "waiting": dispatcher.waiting,
            "parked": metrics.parked_now.total(),
            "max_waiting": core.settings.max_waiting,
            "max_queue": core.settings.max_queue,
        },
        "slots": {
            "total": sum(share.slots for share in counted.models.values()),
            "used": sum(share.used for share in counted.models.values()),
        },
        "models": [
            {"binding": binding, "model": model, **asdict(share)}
            for (binding, model), share in sorted(counted.models.items())
        ],
        "loads": _loads(core, now),
        "holders": {name: asdict(share) for name, share in sorted(counted.holders.items())},
        "addresses": {"count": counted.addresses, **asdict(counted.nameless)},
        "tokens": core.quotas.status(),
        "workers": [_worker(core, worker) for worker in core.link.fleet.all()],
        "asleep": sorted(map("/".join, dispatcher.asleep)),
        "programs": await core.provider.programs(),
        "evictions": dict(sorted(metrics.models_evicted.items())),
        "affinity_hits": dispatcher.queue.worker_choice.hits,
        "restarts": dict(sorted(metrics.restarts.items())),
        "generations": dict(sorted(metrics.ends.items())),
        "continued": metrics.continued,
        "circuits": dispatcher.circuits.status(now),
        "poison": core.quarantine.status(now),
    }


def _loads(core: Core, now: float) -> list[dict[str, Any]]:
    return [
        {
            "binding": worker.binding,
            "model": worker.loading,
            "worker": worker.name,
            "progress": progress,
            "seconds": round(now - worker.loading_since, 1),
        }
        for worker, progress in core.dispatcher.loader.progress.items()
    ]


def _worker(core: Core, worker: Worker) -> dict[str, Any]:
    now = time.monotonic()
    return {
        "name": worker.name,
        "binding": worker.binding,
        "state": state_of(
            worker,
            now,
            stall_limit=core.settings.stall_limit,
            silent=core.link.silent(worker),
            frozen=core.link.stopped(worker),
        ),
        "pid": worker.pid,
        "host": worker.host,
        "model": worker.model,
        "loading": worker.loading or (worker.draining or ("", ""))[1],
        "surplus": bool(worker.model) and core.link.fleet.surplus(worker),
        "slots": worker.slots,
        "running": len(worker.requests) - bool(worker.loading),
        "context": worker.context_size,
        "heard": round(now - worker.last_heard, 3),
        "progress": round(now - worker.progress_at, 3),
        "sandbox": worker.sandbox,
    }


def state_of(worker: Worker, now: float, *, stall_limit: float, silent: bool, frozen: bool) -> str:
    """One word. `now` is of the same clock as the worker's times; `stall_limit` in seconds."""
    stalled = now - worker.progress_at
    if frozen:
        return "frozen"
    if silent:
        return "silent"
    if worker.requests and stalled > (stall_limit * STALL_FRACTION or STALL_SECONDS):
        return "stalled"
    if worker.retiring:
        return "stopping"
    if worker.loading:
        return "loading"
    if worker.draining:
        return "draining"
    if not worker.model:
        return "empty"
    return "busy" if worker.requests else "idle"
