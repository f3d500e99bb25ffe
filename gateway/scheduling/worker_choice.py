"""The choice among workers that hold a model and have a free slot."""

from collections.abc import Collection

from gateway.scheduling.affinity import Affinity
from gateway.scheduling.turns import Waiter
from gateway.workers.worker import Worker


class WorkerChoice:
    """Remembers which worker has computed the beginning of which prompt."""

    def __init__(self) -> None:
        self.hits = 0
        """Generations that went where the beginning of their prompt is held."""
        self._affinity = Affinity()

    def choose(self, waiter: Waiter, free: Collection[Worker]) -> Worker:
        """The worker that holds the longest beginning of the prompt, else the least busy one."""
        prefixes = waiter.prefixes()
        best = self._affinity.best(prefixes, {worker.identity for worker in free})
        held = [worker for worker in free if worker.identity == best]
        self.hits += bool(held)
        worker = held[0] if held else least_busy(free)
        self._affinity.record(prefixes, worker.identity)
        return worker

    def forget(self, worker: Worker) -> None:
        """It is gone, or loads another model."""
        self._affinity.forget(worker.identity)


def least_busy(workers: Collection[Worker]) -> Worker:
    return min(workers, key=lambda worker: worker.occupied / worker.slots)
