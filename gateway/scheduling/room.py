"""Room for a model that no worker serves: which worker loads it, and what has to go before."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway.scheduling.placement import Step, has_replica, is_limited, loaded_models
from gateway.scheduling.policy import Policy
from gateway.scheduling.turns import COST_FACTOR
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Key, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is known about the room for a model."""

    startable: bool
    """Another process of the binding can be started."""
    tried: Collection[Worker]
    """Workers in which it did not fit into memory beside what others hold."""
    stoppable: Callable[[Worker], bool]
    may_switch: Callable[[Worker], bool]
    """Whether a busy worker may make room."""
    now: float
    remote_only: bool = False
    """Only workers on other machines have the model."""
    held: bool = False
    """What becomes free on this machine is for another model."""


def room_for(fleet: Fleet, key: Key, policy: Policy, room: Room) -> tuple[Step, Worker | None]:
    """The next step for a model that no worker serves, and its worker.

    A loaded model is replaced last: first an empty worker, then one more process, then the idle
    worker that can be spared best, and at last a busy one.
    """
    return _Search(fleet, key, policy, room).next_step()


class _Search:
    def __init__(self, fleet: Fleet, key: Key, policy: Policy, room: Room) -> None:
        self._key, self._policy, self._room = key, policy, room
        self._fleet = fleet
        self._workers = [worker for worker in fleet.all() if not worker.retiring]
        self._ours = [
            worker
            for worker in self._workers
            if worker.binding == key[0] and worker.has(key[1])
            and (worker.remote or not (room.remote_only or room.held))
        ]  # fmt: skip
        self._tried = room.tried
        self._tight = any(not worker.remote for worker in self._tried)
        """The memory of this machine is short."""
        self._limited = not (room.remote_only or room.held) and is_limited(fleet, key[0], policy)
        """As many models are loaded here as may be."""
        self._spare = policy.max_models - loaded_models(fleet, policy)
        self._pool = self._replaceable()
        if self._limited and not self._pool:
            # None of them can be unloaded: they are not the gateway's to stop.
            self._limited = False
            self._pool = self._replaceable()

    def next_step(self) -> tuple[Step, Worker | None]:
        if self._room.remote_only and not self._ours:
            return Step.GONE, None
        if any(worker.loading == self._key[1] for worker in self._ours):
            return Step.WAIT, None
        for worker in self._workers:
            if worker.draining == self._key and worker.idle:
                return self._take(worker), worker
        full = self._limited or self._tight
        for worker in self._ours:
            empty = not worker.model and worker.idle and worker not in self._tried
            if empty and (worker.remote or not full):
                return Step.LOAD, worker
        if self._room.startable and not full:
            return Step.START, None
        return self._replace()

    def _replace(self) -> tuple[Step, Worker | None]:
        fleet, tried = self._fleet, self._tried
        steady = [worker for worker in self._pool if not (worker.loading or worker.draining)]
        if idle := [worker for worker in steady if worker.idle and not self._flaps(worker)]:
            spared = min(idle, key=lambda w: (not fleet.surplus(w), w in tried, w.used_at))
            return self._take(spared), spared
        # Nobody knows how long an answer takes that cannot be parked: its worker makes room
        # only if no other can, and only until another can.
        making = [worker for worker in self._workers if worker.draining == self._key]
        if any(worker.resumable for worker in making):
            return Step.WAIT, None
        busy = [w for w in steady if not w.idle and self._room.may_switch(w)]
        if busy := [worker for worker in busy if worker.resumable or not making]:
            chosen = min(busy, key=lambda w: (not w.resumable, not fleet.surplus(w), w.held_since))
            return Step.DRAIN, chosen
        leaving = any(worker.retiring for worker in fleet.all())
        hopeless = tried and not (self._pool or leaving)
        return (Step.FAIL if hopeless else Step.WAIT), None

    def _replaceable(self) -> list[Worker]:
        """Workers whose models may go for this one."""
        local = [worker for worker in self._workers if not worker.remote]
        held = [worker for worker in local if worker.model or worker.loading]
        pool = [worker for worker in self._ours if worker.model or worker.loading]
        if self._tight:
            pool += [worker for worker in held if worker not in pool]
            if len(held) < 2 and all(w in self._tried and not w.loading for w in held):
                pool = [worker for worker in pool if worker.remote]  # it did not fit even alone
        elif self._limited:
            counted = [worker for worker in held if not self._policy.processes(worker.binding)]
            pool += [worker for worker in counted if worker not in pool]
        pool = [worker for worker in pool if self._take(worker) is Step.LOAD or self._stops(worker)]
        if self._limited and not self._tight:
            # Others hold the models of the rest too: without one of these there are not fewer.
            sole = [w for w in pool if w.remote or not has_replica(self._fleet, w)]
            return sole or pool
        return pool

    def _take(self, worker: Worker) -> Step:
        """How it makes room when it is idle."""
        if worker not in self._ours or worker in self._tried:
            return Step.STOP
        # In place of the last one with its model, or of one that is counted as this model already,
        # it makes no difference to the number of models.
        adds = worker.draining != self._key and has_replica(self._fleet, worker)
        too_many = self._spare < int(adds)
        return Step.STOP if self._limited and too_many and self._stops(worker) else Step.LOAD

    def _stops(self, worker: Worker) -> bool:
        return not worker.remote and self._room.stoppable(worker)

    def _flaps(self, worker: Worker) -> bool:
        """Whether an idle worker would go back to the model that it held before, too early to be
        worth the load: its clients may only be between two requests."""
        cost, now = worker.load_seconds, self._room.now
        early = now - worker.held_since < COST_FACTOR * cost and now - worker.used_at < cost
        return early and self._key == (worker.binding, worker.previous)
