"""Tell waiting requests what they wait for: their place in the queue, the model's state."""

from collections.abc import Iterator

from gateway.scheduling.model_queue import ModelQueue
from gateway.scheduling.notices import ModelStatus, Queued
from gateway.scheduling.queue import RequestQueue
from gateway.scheduling.turns import Turn, Waiter
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Key

LOADING = "loading"
NEWEST = 0.2
"""Weight of the newest turn in the mean."""
MAX_MODELS = 256
PERIOD = 1.0
"""Seconds between the places in the queue that one request is told."""


class WaitNotices:
    """Costs nothing for requests that did not ask for it."""

    def __init__(self, fleet: Fleet, queue: RequestQueue) -> None:
        self._fleet = fleet
        self._queue = queue
        self._told: dict[Waiter, tuple[Queued, float]] = {}
        """What each request was told, and when."""
        self._next = 0.0
        self._loading: dict[Key, dict[Waiter, None]] = {}
        """Who was told of a load."""
        self._turn_seconds: dict[Key, float] = {}
        """How long a turn takes, by the models that are held; recent ones count most."""

    def waits(self, waiter: Waiter) -> None:
        """It has joined the queue: it is told its place soon."""
        if waiter.notify:
            self._next = 0.0

    def tell_model(
        self, key: Key, state: str, progress: float | None = None, error: str = ""
    ) -> None:
        """The model is in this state; or with "", those of the binding that no worker serves."""
        # Whoever was told of the load has left the queue when it has ended.
        listeners = self._loading.pop(key, {}) | dict.fromkeys(self._listening(key))
        for waiter in listeners:
            assert waiter.notify
            waiter.notify(ModelStatus(waiter.binding, waiter.model, state, progress, error))
        if state == LOADING and listeners:
            self._loading[key] = listeners

    def turn_ended(self, turn: Turn, now: float) -> None:
        key, seconds = turn.worker.key, now - turn.began
        mean = self._turn_seconds.get(key, seconds)
        self._turn_seconds[key] = mean + (seconds - mean) * NEWEST
        if len(self._turn_seconds) > MAX_MODELS:
            del self._turn_seconds[next(iter(self._turn_seconds))]

    def tell_positions(self, now: float) -> None:
        """Tell who waits its place, if it has changed; each request at most once in PERIOD."""
        if now < self._next:
            return
        self._next = now + PERIOD
        before, self._told = self._told, {}
        for key, queue in self._queue.queues():
            why, pace = self._why(key), self._seconds_each(key)
            for position, waiter in self._places(queue):
                eta = round(position * pace) if pace else None
                notice = Queued(position, len(queue.generations), why, eta)
                last, at = before.get(waiter, (None, now - PERIOD))
                if last == notice or now - at < PERIOD or not waiter.notify:
                    self._told[waiter] = last or notice, at
                else:
                    self._told[waiter] = notice, now
                    waiter.notify(notice)

    def _places(self, queue: ModelQueue) -> Iterator[tuple[int, Waiter]]:
        """Of those who want to know."""
        if not any(waiter.notify for waiter in queue.generations):
            return
        for position, waiter in enumerate(queue.generations, 1):
            if waiter.notify:
                yield position, waiter

    def _seconds_each(self, key: Key) -> float:
        """From one turn's end to the next, in all slots of the model; 0 if that is not known."""
        slots = sum(worker.slots for worker in self._fleet.holders(*key) if not worker.draining)
        return self._turn_seconds.get(key, 0.0) / slots if slots else 0.0

    def _why(self, key: Key) -> str:
        binding, model = key
        workers = self._fleet.of(binding)
        if any(worker.loading == model for worker in workers):
            return f"{model} is being loaded"
        if any(worker.draining == key for worker in self._fleet.all()):
            return f"other models take turns with {model}"
        if self._fleet.holders(*key):
            return "all slots are in use"
        return f"a worker for {model} is needed"

    def _listening(self, key: Key) -> Iterator[Waiter]:
        """Those that wait for the model, or with "" for one of the binding that no worker serves,
        and want to know."""
        binding, model = key
        for (of, wanted), queue in self._queue.queues():
            unserved = not (model or self._fleet.holders(of, wanted))
            if of == binding and (wanted == model or unserved):
                yield from (waiter for waiter in queue if waiter.notify)
