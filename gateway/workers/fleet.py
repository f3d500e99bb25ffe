"""The fleet: all workers that have joined, their models and requests, and what changes them.

No sockets, tasks or clock; times come in as arguments. `gateway.workers.link` reports
arrivals and losses, `gateway.scheduling` reads the state. Attributes of a worker are set
here and nowhere else.
"""

from dataclasses import dataclass, field

from protocol.messages import Heartbeat, Hello, Loaded

ON_THE_WAY = 10.0
"""Seconds that a request may take to a worker whose heartbeats arrive."""


Key = tuple[str, str]
"""Binding and model."""


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
    entry: str = ""
    """Of a remote worker: its entry in the list of keys."""
    context_size: int = 0
    sandbox: dict[str, str] = field(default_factory=dict)
    """As Hello says."""
    loading: str = ""
    """The model that it loads; it serves no request meanwhile."""
    models: dict[str, int] = field(default_factory=dict)
    """Of a remote worker: the model files that it has, name to size in bytes."""
    mapped: int = 0
    """Bytes of files that its model maps into memory."""
    expects_mapped: int = 0
    """The same of the model that it loads."""
    previous: str = ""
    """The model that it held before."""
    loading_since: float = 0.0
    held_since: float = 0.0
    """When its model was loaded."""
    load_seconds: float = 0.0
    """How long that took."""
    draining: Key | None = None
    """The model for which it makes room; it gets no new requests until then."""
    requests: set[int] = field(default_factory=set)
    """All that it has not answered."""
    generations: set[int] = field(default_factory=set)
    """Those of `requests` that need a slot."""
    retiring: bool = False
    """It was asked to stop: it gets no requests, and its end is no crash."""
    missing: dict[int, float] = field(default_factory=dict)
    """Those of `requests` that were not in the last heartbeat, and since when."""
    reserved: int = 0
    """Slots promised to requests that are about to be sent."""
    promised: int = 0
    """Requests without a slot that are about to be sent."""
    steps: int = -1
    progress_at: float = 0.0
    """When its model thread last made a step, or had nothing to do."""

    @property
    def name(self) -> str:
        return self.identity.decode(errors="replace")

    @property
    def remote(self) -> bool:
        """Whether it is on another machine: its pid means nothing here."""
        return bool(self.entry)

    def serves(self, model: str) -> bool:
        return self.model == model and not self.loading and not self.retiring

    def has(self, model: str) -> bool:
        """Whether it can find the model's file. A remote one that lists none may have any."""
        return not self.models or model in self.models

    def shares_memory(self, other: "Worker") -> bool:
        """Whether both are on the same machine."""
        return self.remote == other.remote and (not self.remote or self.host == other.host)

    @property
    def key(self) -> Key:
        """What it holds."""
        return self.binding, self.model

    @property
    def idle(self) -> bool:
        return not (self.requests or self.reserved or self.promised or self.loading)

    @property
    def occupied(self) -> int:
        """Slots in use, and promised ones."""
        return len(self.generations) + self.reserved

    @property
    def has_room(self) -> bool:
        return self.occupied < self.slots and not self.draining


class Fleet:
    def __init__(self) -> None:
        self._workers: dict[bytes, Worker] = {}
        self._orphans: list[Key] = []
        self.last_guest: dict[str, float] = {}
        """When a remote worker of a binding was last there."""

    # Read.

    def find(self, identity: bytes) -> Worker | None:
        return self._workers.get(identity)

    def of(self, binding: str) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.binding == binding]

    def all(self) -> list[Worker]:
        return list(self._workers.values())

    def holders(self, binding: str, model: str) -> list[Worker]:
        """Workers that serve the model now."""
        return [worker for worker in self.of(binding) if worker.serves(model)]

    def expected(self, binding: str, model: str) -> bool:
        """Some worker holds the model, or soon will."""
        key = (binding, model)
        return any(model in (w.model, w.loading) or w.draining == key for w in self.of(binding))

    def surplus(self, worker: Worker) -> bool:
        """Whether another worker serves its model, for longer than this one: it can be spared."""
        return any(
            each is not worker
            and (each.held_since, each.identity) < (worker.held_since, worker.identity)
            for each in self.holders(*worker.key)
        )

    def sharers(self) -> int:
        """How many workers hold a model or are about to: they share the cores."""
        return sum(bool(w.model or w.loading) for w in self.all())

    def mapped_beside(self, worker: Worker) -> int:
        """Bytes of files that the other workers on its machine map, or will after their loads.

        Each file counts once, and that of the model which it loads itself does not: its
        pages are shared.
        """
        files: dict[tuple[str, str], int] = {}
        for other in self.all():
            if other is not worker and other.shares_memory(worker):
                held = (other.model, other.mapped), (other.loading, other.expects_mapped)
                for model, size in held:
                    key = other.binding, model
                    files[key] = max(size, files.get(key, 0))
        files.pop((worker.binding, worker.loading), None)
        return sum(files.values())

    def remote_models(self, binding: str) -> dict[str, tuple[int, list[str]]]:
        """The models that remote workers have: name to size, and the names of their machines."""
        found: dict[str, tuple[int, list[str]]] = {}
        for worker in self.of(binding):
            for name, size in worker.models.items():
                _, hosts = found.setdefault(name, (size, []))
                if worker.host not in hosts:
                    hosts.append(worker.host)
        return found

    # Join and leave.

    def join(self, identity: bytes, hello: Hello, now: float, entry: str = "") -> Worker:
        """A worker said Hello, for the first time or again; its earlier requests are gone."""
        worker = Worker(
            identity=identity,
            binding=hello.binding,
            pid=hello.pid,
            host=hello.host,
            slots=hello.slots,
            resumable=hello.resumable,
            sandbox=hello.sandbox,
            model=hello.model,
            mapped=hello.mapped if hello.model else 0,
            models=hello.models if entry else {},
            entry=entry,
            last_heard=now,
            used_at=now,
            progress_at=now,
            held_since=now,
        )
        self._workers[identity] = worker
        return worker

    def lose(self, identity: bytes, now: float = 0.0) -> Worker | None:
        """Forget a worker. The model it held is wanted again, unless it was retiring."""
        worker = self._workers.pop(identity, None)
        if worker and worker.remote:
            self.last_guest[worker.binding] = now
        if worker and worker.model and not worker.retiring:
            self._orphans.append((worker.binding, worker.model))
        return worker

    def take_orphan(self, binding: str) -> str:
        """A model that a lost worker held and nobody holds now; "" if there is none."""
        for pair in [each for each in self._orphans if each[0] == binding]:
            self._orphans.remove(pair)
            if not self.holders(*pair):
                return pair[1]
        return ""

    def retire(self, worker: Worker, now: float) -> None:
        """It was asked to stop, or is being stopped: it gets no new requests."""
        worker.retiring, worker.used_at = True, now

    def keep(self, worker: Worker) -> None:
        """It will not stop after all."""
        worker.retiring = False

    # Signs of life.

    def hear(self, worker: Worker, now: float) -> None:
        """A message arrived from it."""
        worker.last_heard = now

    def beat(self, worker: Worker, beat: Heartbeat, now: float) -> list[int]:
        """Return the ids of requests that the worker has lost.

        Their answers may be just behind the heartbeat, so they must be missing in two. If the
        worker has not received a later request, they may still be on the way to it.
        """
        if beat.steps != worker.steps or not beat.active:
            worker.steps = beat.steps
            worker.progress_at = now
        worker.last_heard = now
        held = set(beat.requests)
        before = worker.missing
        worker.missing = {id: before.get(id, now) for id in worker.requests if id not in held}
        return [
            id
            for id, since in worker.missing.items()
            if id in before and (id <= beat.last or now - since >= ON_THE_WAY)
        ]

    # Models.

    def start_loading(self, worker: Worker, model: str, now: float) -> None:
        worker.loading, worker.draining, worker.loading_since = model, None, now
        worker.expects_mapped = 0

    def expect_mapped(self, worker: Worker, size: int) -> None:
        """The model that it loads will map so many bytes."""
        worker.expects_mapped = size

    def loaded(self, worker: Worker, answer: Loaded, now: float) -> None:
        worker.held_since, worker.load_seconds = now, now - worker.loading_since
        worker.previous, worker.model = worker.model, answer.model
        worker.context_size = answer.context_size
        worker.slots = max(1, answer.slots)
        worker.mapped = answer.mapped
        worker.loading, worker.expects_mapped = "", 0

    def load_failed(self, worker: Worker) -> None:
        """It holds what it held before."""
        worker.loading, worker.expects_mapped = "", 0

    def unload(self, worker: Worker) -> None:
        """It reported that it holds no model."""
        worker.model, worker.mapped = "", 0

    def drain(self, worker: Worker, key: Key) -> None:
        """Give it no new requests: it makes room for this model."""
        worker.draining = key

    def stop_draining(self, worker: Worker) -> None:
        worker.draining = None

    # Requests.

    def reserve(self, worker: Worker, *, slot: bool = True) -> None:
        """A request is about to be sent: keep the model, and a slot if it needs one."""
        if slot:
            worker.reserved += 1
        else:
            worker.promised += 1

    def free(self, worker: Worker, *, slot: bool = True) -> None:
        """The request was sent, or will not be."""
        if slot:
            worker.reserved -= 1
        else:
            worker.promised -= 1

    def assign(self, worker: Worker, request: int, now: float, *, slot: bool = False) -> None:
        """It was sent; with `slot` it is a generation."""
        worker.requests.add(request)
        if slot:
            worker.generations.add(request)
        worker.used_at = now

    def release(self, worker: Worker, request: int, now: float) -> None:
        worker.requests.discard(request)
        worker.generations.discard(request)
        worker.used_at = worker.progress_at = now
