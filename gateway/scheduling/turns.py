"""A waiting request; and its turn, the time of a generation in a slot of a worker."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from gateway.scheduling.notices import Notify
from gateway.scheduling.policy import Policy
from gateway.workers.worker import Key, Worker

COST_FACTOR = 4
"""A turn lasts so many times what it cost to begin it: at most a fifth of the time is lost."""


@dataclass(slots=True, eq=False, kw_only=True)
class Waiter:
    """A waiting request. It does not change while it is in a queue, which counts by its fields."""

    binding: str
    model: str
    """"" for any worker of the binding, whatever its model."""
    slot: bool = False
    """It is a generation, and needs a slot. Others need only a worker that holds the model."""
    owner: str = ""
    """Whose share it counts to."""
    session: str = ""
    """Inside an owner, turns go round by session."""
    first: bool = False
    """Its worker died: it goes to the front, and limits do not apply."""
    admitted: bool = False
    """It ran already and was parked: limits do not apply."""
    insist: bool = False
    """Ignore open circuits: try again although the last try failed a moment ago."""
    parkable: bool = False
    """It can be ended in its worker and continue later."""
    remote_only: bool = False
    """Only workers on other machines have the model."""
    prefixes: Callable[[], list[bytes]] = list
    """Digests of the beginnings of its prompt: see `gateway.scheduling.affinity`."""
    patient_until: float = 0.0
    """It waits until then although no worker can be had now: one is expected."""
    notify: Notify | None = None

    @property
    def key(self) -> Key:
        return self.binding, self.model

    @property
    def limited(self) -> bool:
        """Whether it counts against the limits of the queue."""
        return self.slot and not (self.first or self.admitted)


@dataclass(slots=True, eq=False)
class Turn:
    """The time of a generation in a slot. The generation writes `unread_since` and
    `start_seconds`."""

    waiter: Waiter
    worker: Worker
    began: float
    unread_since: float = 0.0
    """Since when the client has taken nothing of what waits for it; 0 if nothing waits."""
    start_seconds: float = 0.0
    """From `began` to the first token of this turn: about what it costs to continue after parking.
    0 before that token."""
    parking: bool = False
    """It is being ended in the worker."""
    unread: bool = False
    """That is because its client does not read."""
    park: Callable[[], None] = lambda: None
    """End it in the worker. Set while the request runs."""
    look: Callable[[], None] = lambda: None
    """Bring `unread_since` up to date."""
    check_reader: Callable[[], None] = lambda: None
    """Find out whether the client reads: `unread_since` tells."""
    checked_at: float = 0.0

    @property
    def owner(self) -> str:
        return self.waiter.owner

    @property
    def parkable(self) -> bool:
        return self.waiter.parkable and self.worker.resumable and not self.parking

    def stalled(self, now: float, policy: Policy) -> bool:
        """Its client does not read: whoever waits may have its slot at once."""
        waits = bool(self.unread_since and policy.park_after)
        return waits and now - self.unread_since >= policy.park_after

    def past_slice(self, now: float, policy: Policy, load_seconds: float = 0.0) -> bool:
        """It ran for its slice, and long enough for what it cost to begin, with a load if it must
        be loaded again. A turn that ends before its first token would have been for nothing."""
        if not (policy.slice and self.start_seconds):
            return False
        cost = max(self.start_seconds, load_seconds)
        return now - self.began >= max(policy.slice, COST_FACTOR * cost)


class Turns:
    """The generations that run, by their worker."""

    def __init__(self) -> None:
        self._turns: dict[Worker, set[Turn]] = {}

    def begin(self, waiter: Waiter, worker: Worker, now: float) -> Turn:
        turn = Turn(waiter, worker, now)
        self._turns.setdefault(worker, set()).add(turn)
        return turn

    def end(self, turn: Turn) -> None:
        """It may have ended before."""
        if turns := self._turns.get(turn.worker):
            turns.discard(turn)
            if not turns:
                del self._turns[turn.worker]

    def of(self, workers: Iterable[Worker]) -> list[Turn]:
        return [turn for worker in workers for turn in self._turns.get(worker, ())]

    def __iter__(self) -> Iterator[Turn]:
        return chain.from_iterable(self._turns.values())
