"""A census for operators: who has slots, who waits, and which workers hold which model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.scheduling.queue import RequestQueue
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Key


@dataclass(slots=True)
class ModelShare:
    """One model that is held, loaded or waited for."""

    workers: list[str] = field(default_factory=list)
    """The names of those that serve it."""
    surplus: list[str] = field(default_factory=list)
    """Of these, the replicas that can be spared."""
    slots: int = 0
    used: int = 0
    """Slots with a generation."""
    loading: int = 0
    """Workers that load it."""
    waiting: int = 0
    """Generations that wait for a slot."""


@dataclass(slots=True)
class OwnerShare:
    """Generations of one owner."""

    running: int = 0
    waiting: int = 0
    parked: int = 0
    """They wait for their client to read, in no worker."""

    def add(self, other: "OwnerShare") -> None:
        self.running += other.running
        self.waiting += other.waiting
        self.parked += other.parked


@dataclass(frozen=True, slots=True)
class Census:
    models: dict[Key, ModelShare]
    holders: dict[str, OwnerShare]
    """Owners of generations, by the names of their tokens."""
    addresses: int
    """Owners of generations without a token. Who they are is not said."""
    nameless: OwnerShare
    """The generations of these, together."""

    @property
    def running(self) -> int:
        return self.nameless.running + sum(each.running for each in self.holders.values())


def census(fleet: Fleet, queue: RequestQueue, parked: Mapping[str, int]) -> Census:
    """At this moment. `parked` are the parked generations of each owner."""
    owners = _owners(queue, parked)
    holders = {name: share for name, share in owners.items() if _has_name(name)}
    nameless = OwnerShare()
    for name, share in owners.items():
        if not _has_name(name):
            nameless.add(share)
    return Census(_models(fleet, queue), holders, len(owners) - len(holders), nameless)


def _models(fleet: Fleet, queue: RequestQueue) -> dict[Key, ModelShare]:
    found: dict[Key, ModelShare] = {}
    for worker in fleet.all():
        if worker.loading:
            found.setdefault((worker.binding, worker.loading), ModelShare()).loading += 1
        elif worker.model and not worker.retiring:
            share = found.setdefault(worker.key, ModelShare())
            share.workers.append(worker.name)
            share.slots += worker.slots
            share.used += worker.occupied
            if fleet.surplus(worker):
                share.surplus.append(worker.name)
    for key, waiting in queue.queues():
        if waiting.generations:
            found.setdefault(key, ModelShare()).waiting = len(waiting.generations)
    return found


def _owners(queue: RequestQueue, parked: Mapping[str, int]) -> dict[str, OwnerShare]:
    running = Counter(turn.owner for turn in queue.turns)
    waiting: Counter[str] = Counter()
    for _, each in queue.queues():
        waiting.update(each.generations.counts)
    return {
        name: OwnerShare(running[name], waiting[name], parked.get(name, 0))
        for name in {*running, *waiting, *parked}
    }


def _has_name(owner: str) -> bool:
    """Whether it is a token's holder: names have no spaces, and other owners are "address …"."""
    return bool(owner) and " " not in owner
