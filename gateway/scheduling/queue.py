"""Who waits for a worker, in which order, and what brings each of them nearer to one? (pure)

One line for all. It is walked whenever something has changed; `gateway.scheduling.dispatcher` does
what `walk` returns. Times come in as arguments, in seconds.
"""

from dataclasses import dataclass

from gateway.errors import LoadFailed, NoWorker
from gateway.scheduling.circuit_breaker import Circuits
from gateway.workers.fleet import Fleet, Step, Worker


@dataclass(slots=True, eq=False)
class Waiter:
    binding: str
    model: str
    """"" is any: a worker of the binding is all that is wanted."""
    slot: bool
    """Wants to run there, not only to know that the model is loaded."""
    first: bool = False
    """Had run already, when its worker died: it was admitted long ago."""
    insists: bool = False
    """Wants a try though the last one has failed a moment ago."""


@dataclass(frozen=True, slots=True)
class Given:
    """It has left the line. With `slot`, the worker's `reserved` counts it until it is sent."""

    waiter: Waiter
    worker: Worker


@dataclass(frozen=True, slots=True)
class Denied:
    """It has left the line."""

    waiter: Waiter
    error: Exception


@dataclass(frozen=True, slots=True)
class ToLoad:
    """The worker is marked as loading."""

    worker: Worker
    model: str


@dataclass(frozen=True, slots=True)
class ToStart:
    """One more process may help. Asked for in each walk until there is one, or `full`."""

    binding: str
    insist: bool


Action = Given | Denied | ToLoad | ToStart


class Line:
    def __init__(self, fleet: Fleet, max_queue: int) -> None:
        self.circuits = Circuits()
        """What could not be started or loaded, and is left alone for a while."""
        self.full: set[str] = set()
        """Bindings all of whose processes run: no use in asking for one more."""
        self._fleet = fleet
        self._max_queue = max_queue
        self._waiters: list[Waiter] = []

    @property
    def waiting(self) -> int:
        """Requests that want to run."""
        return sum(waiter.slot for waiter in self._waiters)

    def join(self, waiter: Waiter) -> None:
        """At the end, or behind those who had run before."""
        before = sum(each.first for each in self._waiters) if waiter.first else len(self._waiters)
        self._waiters.insert(before, waiter)

    def leave(self, waiter: Waiter) -> None:
        """Whether it still waits or not."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def too_many(self, waiter: Waiter) -> bool:
        """It waits, and those who came before it are all that may."""
        queued = waiter.slot and not waiter.first and waiter in self._waiters
        return queued and self.waiting > self._max_queue

    def walk(self, now: float) -> list[Action]:
        self._fleet.stop_draining({(waiter.binding, waiter.model) for waiter in self._waiters})
        actions = [self._advance(waiter, now) for waiter in self._waiters]
        done = {each.waiter for each in actions if isinstance(each, Given | Denied)}
        self._waiters = [waiter for waiter in self._waiters if waiter not in done]
        return [action for action in actions if action]

    def deny(
        self, error: Exception, binding: str, model: str | None = None, *, runners: bool = True
    ) -> list[Denied]:
        """Nobody who waits for this has any hope left; None is every model of the binding.
        Without `runners` those who want to run there go on waiting."""
        hopeless = [
            waiter
            for waiter in self._waiters
            if waiter.binding == binding
            and model in (None, waiter.model)
            and (runners or not waiter.slot)
        ]
        for waiter in hopeless:
            self._waiters.remove(waiter)
        return [Denied(waiter, error) for waiter in hopeless]

    def load(self, worker: Worker, model: str) -> ToLoad:
        worker.loading, worker.draining = model, ""
        return ToLoad(worker, model)

    def _advance(self, waiter: Waiter, now: float) -> Action | None:
        binding, model = waiter.binding, waiter.model
        workers = self._fleet.of(binding)
        if not model and workers:
            return Given(waiter, workers[0])
        startable = not workers or binding not in self.full
        step, worker = self._fleet.place(binding, model, slot=waiter.slot, startable=startable)
        if step in (Step.START, Step.LOAD) and (error := self._open(waiter, step, now)):
            return Denied(waiter, error)
        if step is Step.START:
            return ToStart(binding, waiter.insists)
        if worker and step is Step.LOAD:
            return self.load(worker, model)
        if worker and step is Step.SERVE:
            worker.reserved += waiter.slot
            return Given(waiter, worker)
        return None

    def _open(self, waiter: Waiter, step: Step, now: float) -> Exception | None:
        """What has failed so lately that it is not even tried."""
        if waiter.insists:
            return None
        if step is Step.START and (why := self.circuits.barred((waiter.binding, ""), now)):
            return NoWorker(why)
        why = self.circuits.barred((waiter.binding, waiter.model), now)
        return LoadFailed(why) if why else None
