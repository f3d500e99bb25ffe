"""Workers that are being stopped to make room for a model."""

from gateway.workers.worker import Key, Worker


class Departures:
    def __init__(self) -> None:
        self._leaving: dict[Key, Worker] = {}
        """By the model that needs its memory or its place."""
        self._unstoppable: set[Worker] = set()

    def begin(self, worker: Worker, key: Key) -> None:
        """It is being stopped for this model."""
        self._leaving[key] = worker

    def end(self, worker: Worker) -> None:
        """It is gone, or is another than it was: it may be tried again."""
        self._forget(worker)
        self._unstoppable.discard(worker)

    def fail(self, worker: Worker) -> None:
        """It could not be stopped: it is not tried again."""
        self._forget(worker)
        self._unstoppable.add(worker)

    def make_room_for(self, key: Key) -> bool:
        """Whether one is under way for this model."""
        return key in self._leaving

    def may_begin(self, worker: Worker) -> bool:
        return worker not in self._unstoppable

    def _forget(self, worker: Worker) -> None:
        self._leaving = {key: each for key, each in self._leaving.items() if each is not worker}
