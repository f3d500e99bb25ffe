"""Placement: how many models and workers there may be, and when a model gets one more."""

from enum import Enum, auto

from gateway.scheduling.policy import Policy
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Key, Worker

CORES_PER_WORKER = 4
"""One process with fewer cores computes a batch faster than two processes half of it each."""


class Step(Enum):
    """What has to happen before a model can be used."""

    LOAD = auto()  # the worker is idle and can load it
    START = auto()  # another process of the binding may help
    STOP = auto()  # the idle worker's memory, or its place, is needed
    DRAIN = auto()  # the busy worker has to make room
    WAIT = auto()  # something else must end first
    FAIL = auto()  # there is not enough memory, whatever is unloaded
    GONE = auto()  # no worker can have the model


def replica_for(
    fleet: Fleet, key: Key, policy: Policy, *, startable: bool, cores: int
) -> tuple[Step, Worker | None]:
    """The next step to one more worker for a model whose workers are full.

    A joined machine's empty worker always takes it; a process here if `replicas` says so, or
    if there are enough cores for it. No other model is replaced, but for a surplus replica.
    """
    binding, model = key
    ours = [w for w in fleet.of(binding) if not w.retiring and w.has(model)]
    if any(worker.loading == model for worker in ours):
        return Step.WAIT, None
    wanted, have = policy.replicas(*key), sum(worker.model == model for worker in ours)
    if wanted and have >= wanted:
        return Step.WAIT, None
    here = cores > 0 and (bool(wanted) or (fleet.sharers() + 1) * CORES_PER_WORKER <= cores)
    here = here and (key in _held(fleet) or not is_limited(fleet, binding, policy))
    usable = [w for w in ours if w.idle and not w.draining and (w.remote or here)]
    for worker in usable:
        if not worker.model:
            return Step.LOAD, worker
    if here and startable:
        return Step.START, None
    for worker in usable:
        if worker.model != model and fleet.surplus(worker):
            return Step.LOAD, worker
    return Step.WAIT, None


def is_limited(fleet: Fleet, binding: str, policy: Policy) -> bool:
    """Whether no more models may be loaded here, because the processes are automatic."""
    return not policy.processes(binding) and loaded_models(fleet, policy) >= policy.max_models


def loaded_models(fleet: Fleet, policy: Policy) -> int:
    """Different models in the workers here whose processes are automatic."""
    return sum(not policy.processes(binding) for binding, _ in _held(fleet))


def _held(fleet: Fleet) -> set[Key]:
    """What the workers here hold, or soon will."""
    workers = [w for w in fleet.all() if not w.remote and (w.draining or not w.retiring)]
    return {key for key in map(_future, workers) if key[1]}


def _future(worker: Worker) -> Key:
    """What it holds, or soon will."""
    return worker.draining or (worker.binding, worker.loading or worker.model)


def has_replica(fleet: Fleet, worker: Worker) -> bool:
    """Whether another worker here holds its model too, or soon will."""
    return any(
        each is not worker and _future(each) == _future(worker)
        for each in fleet.all()
        if not (each.remote or each.retiring)
    )
