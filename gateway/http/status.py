"""GET /status: the state of everything that may be the matter, in one JSON object.

A worker that has died is not in it. One that is silent, frozen or stalled is called that
from the first moment on, before the health monitor gives it up.
"""

import os
import time
from typing import Any

from gateway.core import Core
from gateway.observability.prometheus import Gauges
from gateway.workers.fleet import Worker

SLOW = 0.25
"""Of the stall limit, for a step that takes long."""
UNLIMITED = 15.0
"""Seconds a step may take before that is said, where nothing limits it."""


async def status(core: Core, counted: Gauges) -> dict[str, Any]:
    """Nothing of what users wrote, no tokens, no paths but those that a binding's card names."""
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
        "clients": counted.sessions,
        "away": len(core.sessions.resumption.away),
        "queue": {
            "running": counted.running,
            "waiting": counted.waiting,
            "most_waiting": core.settings.max_queue,
        },
        "tokens": core.quotas.status(),
        "workers": [_worker(core, worker) for worker in core.link.fleet.all()],
        "asleep": sorted(dispatcher.asleep),
        "programs": await core.provider.programs(),
        "restarts": dict(sorted(metrics.restarts.items())),
        "generations": dict(sorted(metrics.ends.items())),
        "continued": metrics.continued,
        "circuits": dispatcher.circuits.status(now),
        "poison": core.quarantine.status(now),
    }


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
        "loading": worker.loading or worker.draining,
        "slots": worker.slots,
        "running": len(worker.requests) - bool(worker.loading),
        "context": worker.context_size,
        "heard": round(now - worker.last_heard, 3),
        "progress": round(now - worker.progress_at, 3),
        "sandbox": worker.sandbox,
    }


def state_of(worker: Worker, now: float, *, stall_limit: float, silent: bool, frozen: bool) -> str:
    """One word; times in seconds of the clock that the worker's own are of."""
    standing = now - worker.progress_at
    if frozen:
        return "frozen"
    if silent:
        return "silent"
    if worker.requests and standing > (stall_limit * SLOW or UNLIMITED):
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
