"""Models that were unloaded on purpose: whoever asks for one has it loaded again."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from gateway.workers.fleet import Fleet
from gateway.workers.worker import Key, Worker


class Asleep(AbstractSet[Key]):
    """The models that no worker holds because nobody used them, or because another model needed
    the worker or its memory, and that have not failed since."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._unloaded: set[Key] = set()

    def unloaded(self, worker: Worker) -> None:
        """It gives its model up, or is about to."""
        if worker.model:
            self._unloaded.add(worker.key)

    def joined(self, worker: Worker) -> None:
        self._unloaded.discard(worker.key)

    def lost(self, worker: Worker) -> None:
        """It was stopped, or it crashed."""
        self._unloaded.discard(worker.key)
        if worker.retiring:
            self.unloaded(worker)

    def failed(self, binding: str, model: str | None) -> None:
        """The model cannot be loaded; with None, no worker of the binding can be had."""
        self._unloaded = {
            key for key in self._unloaded if key[0] != binding or model not in (None, key[1])
        }

    def __contains__(self, key: object) -> bool:
        return key in self._unloaded and not self._held(key)

    def __iter__(self) -> Iterator[Key]:
        return (key for key in self._unloaded if not self._held(key))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _held(self, key: object) -> bool:
        """It was loaded again, or was not given up after all."""
        return any(worker.key == key and worker.serves(key[1]) for worker in self._fleet.all())
