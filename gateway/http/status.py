"""What does an operator read at /status? Everything that could be the matter, in one JSON.

A worker that has died is not in it, and one that is silent, frozen or stands still is
called that from the first moment on: before anybody has given it up.
"""

import os
import time
from typing import Any

from gateway.core import Server
from gateway.provisioning.supervisor import Supervision
from gateway.workers.fleet import Worker

SLOW = 0.25
"""Of the stall limit, for a step that takes long."""
UNLIMITED = 15.0
"""Seconds a step may take before that is said, where nothing limits it."""


async def status(server: Server, supervision: Supervision) -> dict[str, Any]:
    """Nothing of what users wrote, no tokens, no paths."""
    now = time.monotonic()
    binding, model = server.selection()
    reason = server.unready()
    circuits, poison = server.dispatch.circuits, server.link.poison
    metrics, counted = server.metrics, server.metrics.now()
    return {
        "ready": not reason,
        "reason": reason,
        "selected": {"binding": binding, "model": model},
        "pid": os.getpid(),
        "uptime": round(now - server.began, 1),
        "stopping": server.draining,
        "clients": counted.sessions,
        "away": len(server.returning.away),
        "queue": {
            "running": counted.running,
            "waiting": counted.waiting,
            "most_waiting": server.settings.max_queue,
        },
        "tokens": server.allowances.status(),
        "workers": [_worker(server, worker) for worker in server.dispatch.fleet.all()],
        "asleep": sorted(server.dispatch.asleep),
        "programs": await supervision.programs(),
        "restarts": dict(sorted(metrics.restarts.items())),
        "generations": dict(sorted(metrics.ends.items())),
        "continued": metrics.continued,
        "circuits": circuits.status(now),
        "poison": poison.status(now),
    }


def _worker(server: Server, worker: Worker) -> dict[str, Any]:
    now = time.monotonic()
    return {
        "name": worker.name,
        "binding": worker.binding,
        "state": state_of(
            worker,
            now,
            stall_limit=server.settings.stall_limit,
            silent=server.link.silent(worker),
            frozen=server.link.stopped(worker),
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
