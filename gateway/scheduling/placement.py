"""Placement: which worker takes a request, or which step has to come first."""

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
    """The next step for a request for `model`, and its worker for SERVE and LOAD.

    With `slot`, SERVE means a free slot; without, a worker that holds the model. A loaded
    model is replaced last: first an empty worker, then one more process, then the idle worker
    that was used longest ago, and at last a busy one, which is marked as draining.
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
    """Let workers serve again that drain for a model for which no request waits any more.

    `wanted` are binding and model of all waiting requests.
    """
    for worker in fleet.all():
        if worker.draining and (worker.binding, worker.draining) not in wanted:
            fleet.stop_draining(worker)


def _drained(workers: list[Worker], model: str) -> tuple[Step, Worker | None]:
    for worker in workers:
        if worker.draining == model and worker.idle:
            return Step.LOAD, worker
    return Step.WAIT, None
