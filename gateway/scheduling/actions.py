"""What the dispatcher has to do, as the request queue decided it."""

from dataclasses import dataclass

from gateway.scheduling.turns import Turn, Waiter
from gateway.workers.worker import Worker


@dataclass(frozen=True, slots=True)
class Serve:
    """It has left the queue. A generation has a turn, and its slot is reserved until it is sent."""

    waiter: Waiter
    worker: Worker
    turn: Turn | None = None


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
    patient: bool = False
    """Leave it out if a try failed a moment ago: something better may come meanwhile."""


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Stop an idle worker, which is marked as retiring, to make room for a model."""

    worker: Worker


@dataclass(frozen=True, slots=True)
class Park:
    """End the turn in its worker; the generation continues later. It is marked as parking."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class CheckReader:
    """Find out whether the client of a turn reads: others wait."""

    turn: Turn


Action = Serve | Reject | LoadModel | StartWorker | StopWorker | Park | CheckReader
