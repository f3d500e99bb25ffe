"""Models that did not fit into memory beside what others hold."""

from collections.abc import Collection, Container
from dataclasses import dataclass, field

from gateway.workers.worker import Key, Worker


@dataclass(slots=True)
class Misfit:
    error: str
    here: bool = False
    """It was too large for the memory of this machine."""
    tried: set[Worker] = field(default_factory=set)
    """In which workers, since memory was freed for the last time."""


class Shortage:
    def __init__(self) -> None:
        self._misfits: dict[Key, Misfit] = {}

    def add(self, worker: Worker, model: str, error: str) -> None:
        misfit = self._misfits.setdefault((worker.binding, model), Misfit(error))
        misfit.tried.add(worker)
        misfit.here = misfit.here or not worker.remote

    def tried(self, key: Key) -> Collection[Worker]:
        """Workers in which it did not fit; none if that may have changed since."""
        return self._misfits[key].tried if key in self._misfits else ()

    def makes_room(self, key: Key) -> bool:
        """Whether others have to go from this machine for it. Until it fits, what becomes free is
        kept for it: otherwise smaller models would take it again and again."""
        return key in self._misfits and self._misfits[key].here

    def keep(self, wanted: Container[Key]) -> None:
        """Forget those for which nobody waits any more."""
        for key in [key for key in self._misfits if key not in wanted]:
            del self._misfits[key]

    def changed(self) -> None:
        """Memory may be free now."""
        for misfit in self._misfits.values():
            misfit.tried.clear()

    def end(self, key: Key) -> str:
        """It is loaded, or there is no hope. Return why it did not fit."""
        return self._misfits.pop(key).error if key in self._misfits else ""
