"""How long a worker may be idle before it is stopped: one that nobody needs, not for long."""

from gateway.scheduling.policy import Policy
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker

SPARE_SECONDS = 60.0
"""A worker that can be spared is stopped after so long: its memory may be needed, and if a crowd
comes back a moment later it is still there."""


def idle_limit(fleet: Fleet, worker: Worker, policy: Policy, keep_alive: float) -> float:
    """Seconds; 0 is no limit. `keep_alive` is what the settings say for its model.

    A surplus replica and an empty worker, whose binding has as many as models ask for, can be
    spared, whatever the settings say. The last worker of a binding on this machine cannot.
    """
    if not _spare(fleet, worker, policy):
        return keep_alive
    return min(keep_alive or SPARE_SECONDS, SPARE_SECONDS)


def _spare(fleet: Fleet, worker: Worker, policy: Policy) -> bool:
    here = [each for each in fleet.of(worker.binding) if not (each.remote or each.retiring)]
    if worker.remote or len(here) < 2:
        return False
    if worker.model:
        return fleet.surplus(worker)
    return not policy.processes(worker.binding)
