"""The fleet: all workers that have joined, their models and requests, and what changes them.

No sockets, tasks or clock; times come in as arguments. `gateway.workers.link` reports
arrivals and losses, `gateway.scheduling` reads the state. Attributes of a worker are set
here and nowhere else.
"""

from gateway.workers.worker import Key, Worker
from protocol.messages import Heartbeat, Hello, Loaded

ON_THE_WAY = 10.0
"""Seconds that a request may take to a worker whose heartbeats arrive."""


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

    def open_holders(self, key: Key) -> list[Worker]:
        """Workers that serve the model and take new requests; any of the binding for ""."""
        binding, model = key
        workers = self.holders(binding, model) if model else self.of(binding)
        return [worker for worker in workers if not (worker.draining or worker.retiring)]

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
        self._make_room(None, (worker.binding, model))
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
        """Give it no new requests: it makes room for this model, and no other worker does."""
        self._make_room(worker, key)

    def stop_draining(self, worker: Worker) -> None:
        worker.draining = None

    def _make_room(self, worker: Worker | None, key: Key) -> None:
        for other in self.all():
            if other.draining == key:
                other.draining = None
        if worker:
            worker.draining = key

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
