"""Which workers exist, what does each hold, and who takes the next request?

Plain state: no sockets, no tasks, no clock; times come in as arguments.
`gateway.workers.link` feeds it what arrived and what was lost, `gateway.scheduling.dispatcher`
asks it where a request can go and acts on the answer.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from protocol.messages import Heartbeat, Hello, Loaded


@dataclass(slots=True, eq=False)
class Worker:
    identity: bytes
    binding: str
    pid: int
    host: str
    slots: int
    resumable: bool
    model: str
    last_heard: float
    used_at: float
    context_size: int = 0
    details: dict[str, str] = field(default_factory=dict)
    sandbox: dict[str, str] = field(default_factory=dict)
    """As Hello says."""
    loading: str = ""
    """What it is asked to hold; it serves nobody meanwhile."""
    draining: str = ""
    """What it is to hold as soon as its running requests are done: no new ones until then."""
    requests: set[int] = field(default_factory=set)
    retiring: bool = False
    """It was idle for long and has been asked to go."""
    reserved: int = 0
    """Slots promised to requests that are about to be sent."""
    steps: int = -1
    progress_at: float = 0.0
    """When its model thread was last seen to move, or to have nothing to do."""

    @property
    def name(self) -> str:
        return self.identity.decode(errors="replace")

    def serves(self, model: str) -> bool:
        return self.model == model and not self.loading and not self.retiring

    @property
    def idle(self) -> bool:
        return not self.occupied and not self.loading

    @property
    def occupied(self) -> int:
        return len(self.requests) + self.reserved


class Step(Enum):
    """What has to happen before a request can run."""

    SERVE = auto()  # the worker takes it now
    LOAD = auto()  # the worker is free to load the model
    START = auto()  # another process of the binding may help
    WAIT = auto()  # something else must end first


class Fleet:
    def __init__(self) -> None:
        self._workers: dict[bytes, Worker] = {}
        self._orphans: list[tuple[str, str]] = []

    def join(self, identity: bytes, hello: Hello, now: float) -> Worker:
        """A worker said Hello, for the first time or again: what it ran is gone."""
        worker = Worker(
            identity=identity,
            binding=hello.binding,
            pid=hello.pid,
            host=hello.host,
            slots=hello.slots,
            resumable=hello.resumable,
            sandbox=hello.sandbox,
            model=hello.model,
            last_heard=now,
            used_at=now,
            progress_at=now,
        )
        self._workers[identity] = worker
        return worker

    def find(self, identity: bytes) -> Worker | None:
        return self._workers.get(identity)

    def hear(self, worker: Worker, beat: Heartbeat, now: float) -> None:
        if beat.steps != worker.steps or not beat.active:
            worker.steps = beat.steps
            worker.progress_at = now
        worker.last_heard = now

    def lose(self, identity: bytes) -> Worker | None:
        """Forget a worker. What it held is wanted again, unless it was meant to go."""
        worker = self._workers.pop(identity, None)
        if worker and worker.model and not worker.retiring:
            self._orphans.append((worker.binding, worker.model))
        return worker

    def orphan(self, binding: str) -> str:
        """A model that a lost worker held and nobody holds now; "" if there is none."""
        for pair in [each for each in self._orphans if each[0] == binding]:
            self._orphans.remove(pair)
            if not self.holders(*pair):
                return pair[1]
        return ""

    def loaded(self, worker: Worker, answer: Loaded) -> None:
        worker.model = answer.model
        worker.context_size = answer.context_size
        worker.slots = max(1, answer.slots)
        worker.details = answer.details
        worker.loading = ""

    def of(self, binding: str) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.binding == binding]

    def all(self) -> list[Worker]:
        return list(self._workers.values())

    def holders(self, binding: str, model: str) -> list[Worker]:
        return [worker for worker in self.of(binding) if worker.serves(model)]

    def expected(self, binding: str, model: str) -> bool:
        """Some worker holds it, or soon will."""
        return any(model in (w.model, w.loading, w.draining) for w in self.of(binding))

    def sharers(self) -> int:
        """How many workers hold a model or are about to: they share the cores."""
        return sum(bool(w.model or w.loading) for w in self.all())

    def assign(self, worker: Worker, request: int, now: float) -> None:
        worker.requests.add(request)
        worker.used_at = now

    def release(self, worker: Worker, request: int, now: float) -> None:
        worker.requests.discard(request)
        worker.used_at = worker.progress_at = now

    def place(
        self, binding: str, model: str, *, slot: bool = True, startable: bool
    ) -> tuple[Step, Worker | None]:
        """What brings a request for `model` nearer to running.

        With `slot`, SERVE means a free slot; without, that the model is there.
        A model is never taken from a worker while another way is open: an empty
        worker first, then one more process, then the idle worker that was used
        longest ago, and at last a busy one, which is drained.
        """
        holders = self.holders(binding, model)
        free = [w for w in holders if w.occupied < w.slots and not w.draining]
        if free or (holders and not slot):
            return Step.SERVE, min(free or holders, key=lambda w: w.occupied / w.slots)
        if holders and not all(w.draining for w in holders):
            return Step.WAIT, None
        workers = [w for w in self.of(binding) if not w.retiring]
        if any(model in (w.loading, w.draining) for w in workers):
            return self._drained(workers, model)
        open_to_load = [w for w in workers if not w.loading and not w.draining]
        for worker in open_to_load:
            if not worker.model and worker.idle:
                return Step.LOAD, worker
        if startable:
            return Step.START, None
        if not open_to_load:
            return Step.WAIT, None
        oldest = min(open_to_load, key=lambda w: (not w.idle, w.used_at))
        if oldest.idle:
            return Step.LOAD, oldest
        oldest.draining = model
        return Step.WAIT, None

    def stop_draining(self, wanted: set[tuple[str, str]]) -> None:
        """Who waited for a model may have left: nobody is drained for what nobody wants."""
        for worker in self.all():
            if worker.draining and (worker.binding, worker.draining) not in wanted:
                worker.draining = ""

    def _drained(self, workers: list[Worker], model: str) -> tuple[Step, Worker | None]:
        for worker in workers:
            if worker.draining == model and worker.idle:
                return Step.LOAD, worker
        return Step.WAIT, None
