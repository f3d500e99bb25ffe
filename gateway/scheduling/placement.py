"""Placement: which worker takes a request, or which step brings it nearer to one."""

from enum import Enum, auto

from gateway.workers.fleet import Fleet, Worker


class Step(Enum):
    """What has to happen before a request can run."""

    SERVE = auto()  # the worker takes it now
    LOAD = auto()  # the worker is free to load the model
    START = auto()  # another process of the binding may help
    WAIT = auto()  # something else must end first


def place(
    fleet: Fleet, binding: str, model: str, *, slot: bool = True, startable: bool
) -> tuple[Step, Worker | None]:
    """What brings a request for `model` nearer to running.

    With `slot`, SERVE means a free slot; without, that the model is there.
    A model is never taken from a worker while another way is open: an empty
    worker first, then one more process, then the idle worker that was used
    longest ago, and at last a busy one, which is drained.
    """
    holders = fleet.holders(binding, model)
    free = [w for w in holders if w.occupied < w.slots and not w.draining]
    if free or (holders and not slot):
        return Step.SERVE, min(free or holders, key=lambda w: w.occupied / w.slots)
    if holders and not all(w.draining for w in holders):
        return Step.WAIT, None
    workers = [w for w in fleet.of(binding) if not w.retiring]
    if any(model in (w.loading, w.draining) for w in workers):
        return _drained(workers, model)
    open_to_load = [w for w in workers if not w.loading and not w.draining]
    for worker in open_to_load:
        if not worker.model and worker.idle:
            return Step.LOAD, worker
    if startable:
        return Step.START, None
    if not open_to_load:
        return Step.WAIT, None
    oldest = min(open_to_load, key=lambda w: (not w.idle, w.used_at))
    if oldest.idle:
        return Step.LOAD, oldest
    fleet.drain(oldest, model)
    return Step.WAIT, None


def stop_draining(fleet: Fleet, wanted: set[tuple[str, str]]) -> None:
    """Requests that waited for a model may have left: no worker drains for what nobody wants.

    `wanted` are binding and model of all that wait.
    """
    for worker in fleet.all():
        if worker.draining and (worker.binding, worker.draining) not in wanted:
            fleet.stop_draining(worker)


def _drained(workers: list[Worker], model: str) -> tuple[Step, Worker | None]:
    for worker in workers:
        if worker.draining == model and worker.idle:
            return Step.LOAD, worker
    return Step.WAIT, None
