"""Placement: how a model gets a worker that nobody holds it in, or one more."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto

from gateway.scheduling.policy import Policy
from gateway.scheduling.turns import COST_FACTOR
from gateway.workers.fleet import Fleet, Key, Worker


class Step(Enum):
    """What has to happen before a model can be used."""

    LOAD = auto()  # the worker is idle and can load it
    START = auto()  # another process of the binding may help
    STOP = auto()  # the idle worker's memory, or its place, is needed
    DRAIN = auto()  # the busy worker has to make room
    WAIT = auto()  # something else must end first
    FAIL = auto()  # there is not enough memory, whatever is unloaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is known about the room for a model."""

    startable: bool
    """Another process of the binding can be started."""
    cramped: Collection[Worker] | None
    """Workers in which it did not fit into memory beside what others hold; None if it was not
    tried, or something has changed since."""
    stoppable: Callable[[Worker], bool]
    may_switch: Callable[[Worker], bool]
    """Whether a busy worker may make room."""
    now: float


def room_for(fleet: Fleet, key: Key, policy: Policy, room: Room) -> tuple[Step, Worker | None]:
    """The next step for a model that no worker serves, and its worker.

    A loaded model is replaced last: first an empty worker, then one more process, then the idle
    worker that can be spared best, and at last a busy one.
    """
    binding, model = key
    ours = [w for w in fleet.of(binding) if not w.retiring and w.has(model)]
    if any(worker.loading == model for worker in ours):
        return Step.WAIT, None
    for worker in fleet.all():
        if worker.draining == key and not worker.retiring:
            return (_take(worker, key) if worker.idle else Step.WAIT), worker
    limited = not policy.processes(binding) and loaded_models(fleet, policy) >= policy.max_models
    if room.cramped is None:
        for worker in ours:
            if not worker.model and worker.idle and (worker.remote or not limited):
                return Step.LOAD, worker
        if room.startable and not limited:
            return Step.START, None
    pool = [worker for worker in ours if worker.model]
    if limited or room.cramped is not None:
        pool += [w for w in fleet.all() if w not in pool and _evictable(w) and room.stoppable(w)]
    if room.cramped is not None:
        pool = [worker for worker in pool if worker not in room.cramped and not worker.remote]
    steady = [worker for worker in pool if not (worker.loading or worker.draining)]
    if idle := [w for w in steady if w.idle and not _flaps(w, key, room.now)]:
        spared = min(idle, key=lambda w: (not fleet.surplus(w), w.used_at))
        return _take(spared, key), spared
    if busy := [worker for worker in steady if room.may_switch(worker)]:
        return Step.DRAIN, min(busy, key=lambda w: (not fleet.surplus(w), w.held_since))
    hopeless = room.cramped is not None and not pool
    return (Step.FAIL if hopeless else Step.WAIT), None


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
    here = bool(wanted) or (fleet.sharers() + 1) * CORES_PER_WORKER <= cores
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


CORES_PER_WORKER = 4
"""One process with fewer cores computes a batch faster than two processes half of it each."""


def loaded_models(fleet: Fleet, policy: Policy) -> int:
    """Different models in the workers here whose processes are automatic."""
    return len(
        {
            (worker.binding, worker.loading or worker.model)
            for worker in fleet.all()
            if not (worker.remote or worker.retiring or policy.processes(worker.binding))
            and (worker.loading or worker.model)
        }
    )


def _flaps(worker: Worker, key: Key, now: float) -> bool:
    """Whether an idle worker would go back to the model that it held before, too early to be worth
    the load: its clients may only be between two requests."""
    cost = worker.load_seconds
    early = now - worker.held_since < COST_FACTOR * cost and now - worker.used_at < cost
    return early and key == (worker.binding, worker.previous)


def _evictable(worker: Worker) -> bool:
    return bool(worker.model) and not (worker.remote or worker.retiring)


def _take(worker: Worker, key: Key) -> Step:
    """How an idle worker makes room for the model."""
    binding, model = key
    return Step.LOAD if worker.binding == binding and worker.has(model) else Step.STOP
