"""The request queue: order, limit, and the next action for each waiting request.

There is one queue for all bindings. The dispatcher calls `schedule` on every change and
executes the actions that it returns. Times come in as arguments, in seconds.
"""

from dataclasses import dataclass

from gateway.errors import LoadFailed, NoWorker
from gateway.scheduling.circuit_breaker import CircuitBreaker
from gateway.scheduling.placement import Step, place, stop_draining
from gateway.workers.fleet import Fleet, Worker


@dataclass(slots=True, eq=False)
class Waiter:
    """A waiting request."""

    binding: str
    model: str
    """"" for any worker of the binding, whatever its model."""
    slot: bool
    """It needs a slot, not only a worker that holds the model."""
    first: bool = False
    """It ran already and its worker died: it goes to the front, and the limit does not apply."""
    insist: bool = False
    """Ignore open circuits: try again although the last try failed a moment ago."""


@dataclass(frozen=True, slots=True)
class Serve:
    """It has left the queue. With `slot`, a slot of the worker is reserved until it is sent."""

    waiter: Waiter
    worker: Worker


@dataclass(frozen=True, slots=True)
class Reject:
    """It has left the queue."""

    waiter: Waiter
    error: Exception


@dataclass(frozen=True, slots=True)
class LoadModel:
    """The worker is marked as loading."""

    worker: Worker
    model: str


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start another worker process. Repeated on every scheduling pass until one joins or the
    binding is `full`."""

    binding: str
    insist: bool


Action = Serve | Reject | LoadModel | StartWorker


class RequestQueue:
    def __init__(self, fleet: Fleet, max_queue: int) -> None:
        self.circuits = CircuitBreaker()
        """Starts and loads that failed, and are not tried again for a while."""
        self.full: set[str] = set()
        """Bindings whose allowed processes all run: no other can be started."""
        self._fleet = fleet
        self._max_queue = max_queue
        self._waiters: list[Waiter] = []

    @property
    def waiting(self) -> int:
        """Requests that want to run."""
        return sum(waiter.slot for waiter in self._waiters)

    def join(self, waiter: Waiter) -> None:
        """Append it; if it is `first`, behind the other `first` ones."""
        before = sum(each.first for each in self._waiters) if waiter.first else len(self._waiters)
        self._waiters.insert(before, waiter)

    def leave(self, waiter: Waiter) -> None:
        """Remove it, if it still waits."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def too_many(self, waiter: Waiter) -> bool:
        """Whether it waits although the queue was full before it joined."""
        queued = waiter.slot and not waiter.first and waiter in self._waiters
        return queued and self.waiting > self._max_queue

    def schedule(self, now: float) -> list[Action]:
        """One pass over all waiting requests, in order."""
        wanted = {(waiter.binding, waiter.model) for waiter in self._waiters}
        stop_draining(self._fleet, wanted)
        actions = [self._advance(waiter, now) for waiter in self._waiters]
        done = {each.waiter for each in actions if isinstance(each, Serve | Reject)}
        self._waiters = [waiter for waiter in self._waiters if waiter not in done]
        return [action for action in actions if action]

    def reject(
        self, error: Exception, binding: str, model: str | None = None, *, slots: bool = True
    ) -> list[Reject]:
        """Remove all requests for this model, or with None for any model of the binding. Without
        `slots`, requests that need a slot stay."""
        hopeless = [
            waiter
            for waiter in self._waiters
            if waiter.binding == binding
            and model in (None, waiter.model)
            and (slots or not waiter.slot)
        ]
        for waiter in hopeless:
            self._waiters.remove(waiter)
        return [Reject(waiter, error) for waiter in hopeless]

    def load(self, worker: Worker, model: str) -> LoadModel:
        self._fleet.start_loading(worker, model)
        return LoadModel(worker, model)

    def _advance(self, waiter: Waiter, now: float) -> Action | None:
        binding, model = waiter.binding, waiter.model
        workers = self._fleet.of(binding)
        if not model and workers:
            return Serve(waiter, workers[0])
        startable = not workers or binding not in self.full
        step, worker = place(self._fleet, binding, model, slot=waiter.slot, startable=startable)
        if step in (Step.START, Step.LOAD) and (error := self._open_circuit(waiter, step, now)):
            return Reject(waiter, error)
        if step is Step.START:
            return StartWorker(binding, waiter.insist)
        if worker and step is Step.LOAD:
            return self.load(worker, model)
        if worker and step is Step.SERVE:
            if waiter.slot:
                self._fleet.reserve(worker)
            return Serve(waiter, worker)
        return None

    def _open_circuit(self, waiter: Waiter, step: Step, now: float) -> Exception | None:
        """The error of an open circuit, if the step must not be tried now."""
        if waiter.insist:
            return None
        if step is Step.START and (
            why := self.circuits.open_for_requests((waiter.binding, ""), now)
        ):
            return NoWorker(why)
        why = self.circuits.open_for_requests((waiter.binding, waiter.model), now)
        return LoadFailed(why) if why else None
