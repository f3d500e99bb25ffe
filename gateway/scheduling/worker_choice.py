"""The choice among workers that hold a model and have a free slot."""

from collections.abc import Collection

from gateway.scheduling.affinity import Affinity
from gateway.scheduling.turns import Waiter
from gateway.workers.worker import Worker

SPREAD = 0.25
"""Part of its slots by which a worker may be busier than another, to use a common beginning."""


class WorkerChoice:
    """Remembers which worker has computed the beginning of which prompt."""

    def __init__(self) -> None:
        self.hits = 0
        """Generations that went where the beginning of their prompt is held."""
        self._affinity = Affinity()

    def choose(self, waiter: Waiter, free: Collection[Worker]) -> Worker:
        """The worker that holds the longest beginning of the prompt, else the least busy one.

        If that beginning is common, such as the text of a personality, the worker must not be
        much busier than another: soon both will hold it.
        """
        prefixes = waiter.prefixes()
        best, common = self._affinity.best(prefixes, {worker.identity for worker in free})
        idlest = least_busy(free)
        worker = least_busy([w for w in free if w.identity in best]) if best else idlest
        if common and load(worker) - load(idlest) > SPREAD:
            worker = idlest
        self.hits += worker.identity in best
        again = waiter.admitted or waiter.first
        self._affinity.record(prefixes, worker.identity, again=again)
        return worker

    def forget(self, worker: Worker) -> None:
        """It is gone, or loads another model."""
        self._affinity.forget(worker.identity)


def load(worker: Worker) -> float:
    """Part of its slots that is in use."""
    return worker.occupied / worker.slots


def least_busy(workers: Collection[Worker]) -> Worker:
    return min(workers, key=load)
