"""Clients: generations that stall, are cancelled and are parked; unary requests; connections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gateway.errors import Busy
from gateway.scheduling.turns import Turn, Waiter
from gateway.workers.worker import Key, Worker
from tests.support.sharing.server import Server

CREDIT = 8
"""Tokens that a worker computes ahead of its client."""


@dataclass(eq=False, kw_only=True)
class Generation:
    """As `gateway.inference.generation_runner` runs it."""

    server: Server
    waiter: Waiter
    tokens: int
    stalls: dict[int, float] = field(default_factory=dict)
    """At which tokens the client stops reading, and for how long."""
    buffered: bool = False
    """What is sent lies in buffers of the system: only the client knows that it is unread."""
    ended: Callable[[], object] = lambda: None
    outcome: object = None
    """"finished", "cancelled", or an error."""
    computed: int = 0
    """Tokens in the worker, with those of earlier turns."""
    work: int = 0
    """Tokens that were computed at all."""
    slot_seconds: float = 0.0
    turn: Turn | None = None
    parked: bool = False
    """It waits for its client."""
    _run: int = 0
    _unsent: int = 0
    _unread_since: float = 0.0
    _reading: bool = True
    _paused: bool = False
    _failovers: int = 0

    def start(self) -> None:
        self.server.wait(self)

    @property
    def parkable(self) -> bool:
        return self.waiter.parkable

    @property
    def most_seconds(self) -> float:
        """So long it takes at most in one slot."""
        world = self.server.world
        return world.prompt + self.tokens * world.token + sum(self.stalls.values())

    def serve(self, turn: Turn | None, worker: Worker) -> None:
        assert turn and not self.outcome
        self.turn = turn
        self._run = self.server.send(self, worker, slot=True)
        run = self._run
        turn.unread_since = self._unread_since
        turn.park = lambda: self._send_cancel(run)
        turn.check_reader = self._ask_client
        if self.server.fleet.find(worker.identity) is not worker:
            self.server.answered(worker, run)
            return self.lost(worker)
        self._paused = False  # it may compute one token, whatever is unsent
        self.server.clock.after(self.server.world.prompt, lambda: self._token(run))

    def reject(self, error: Exception) -> None:
        self._end(error)

    def lost(self, worker: Worker) -> None:
        if not self.turn:
            return  # nobody waits for it any more
        self._end_turn()
        untouched = self.waiter.binding in self.server.world.frail and not self.computed
        if self._failovers or not (worker.resumable or untouched):
            return self._end("lost")
        self._failovers += 1
        self._again(first=True)

    def cancel(self) -> None:
        """Its client stops it."""
        if self.outcome:
            return
        if self.turn:
            self._end_turn()
            self._send_cancel(self._run)
        elif self.waiter in self.server.ready:
            self.server.cancel(self.waiter)
        self._end("cancelled")

    def _token(self, run: int) -> None:
        turn = self.turn
        if run != self._run or not self._in_worker(run):
            return
        if not turn:  # cancelled: the worker does not know it yet
            return self.server.clock.after(self.server.world.token, lambda: self._token(run))
        self.computed += 1
        self.work += 1
        turn.start_seconds = turn.start_seconds or self.server.now - turn.began
        if self._reading and self.computed in self.stalls:
            self._reading = False
            self.server.clock.after(self.stalls[self.computed], self._read)
        if not (self._reading or self.buffered):
            self._unsent += 1
            self._note(self._unread_since or self.server.now)
        if self.computed >= self.tokens:
            self.server.answered(turn.worker, run)
            self._end_turn()
            return self._end("finished")
        self._paused = self._unsent >= CREDIT
        if not self._paused:
            self.server.clock.after(self.server.world.token, lambda: self._token(run))

    def _ask_client(self) -> None:
        if not self._unread_since:
            self._note(self.server.now)
            self.server.clock.after(self.server.soon(), self._answer)

    def _answer(self) -> None:
        """Its client says that it has read all, if it has."""
        if self._reading:
            self._note(0.0)

    def _read(self) -> None:
        """Its client takes all that waits."""
        self._reading, self._unsent = True, 0
        run = self._run
        if self._paused and self.turn:
            self._paused = False
            self.server.clock.after(self.server.world.token, lambda: self._token(run))
        self._note(0.0)

    def _note(self, since: float) -> None:
        self._unread_since = since
        if self.turn:
            self.turn.unread_since = since
        if self.parked and not since:
            self.parked = False
            self._again()

    def _send_cancel(self, run: int) -> None:
        self.server.clock.after(self.server.soon(), lambda: self._cancelled(run))

    def _cancelled(self, run: int) -> None:
        """The frame has reached the worker. It may have crossed the end."""
        if not self._in_worker(run):
            return
        turn = self.turn
        self.server.answered(self._worker, run)
        if run == self._run and turn:
            stalled = bool(turn.unread_since)
            assert turn.parking
            self._end_turn()
            if stalled and self._unread_since:
                self.parked = True
            else:
                self._again()

    def _in_worker(self, run: int) -> bool:
        return run in self.server.runs.get(self._worker, {})

    def _again(self, *, first: bool = False) -> None:
        if not self.outcome:
            admitted = self.waiter.admitted or not first
            self.waiter = replace(self.waiter, first=first, admitted=admitted, patient_until=0.0)
            self.server.wait(self)

    def _end_turn(self) -> None:
        assert self.turn
        self.slot_seconds += self.server.now - self.turn.began
        self.server.queue.end_turn(self.turn)
        self._worker_left, self.turn = self.turn.worker, None

    @property
    def _worker(self) -> Worker:
        return self.turn.worker if self.turn else self._worker_left

    def _end(self, outcome: object) -> None:
        if not self.outcome:
            self.outcome = outcome
            self.parked = False
            if outcome == "finished":
                assert self.work == self.tokens, "each token is computed once"
            self.ended()


@dataclass(eq=False, kw_only=True)
class Unary:
    """A tokenize, detokenize or embed."""

    server: Server
    waiter: Waiter
    ended: Callable[[], object] = lambda: None
    outcome: object = None

    def start(self) -> None:
        try:
            self.server.queue.limits.add_unary(self.waiter.owner, self.waiter.key)
        except Busy as error:
            self.outcome = error
            return self.ended()
        self.server.wait(self)

    def serve(self, turn: Turn | None, worker: Worker) -> None:
        assert not turn
        run = self.server.send(self, worker, slot=False)
        if self.server.fleet.find(worker.identity) is not worker:
            self.server.answered(worker, run)
            return self.lost(worker)
        self.server.clock.after(self.server.world.unary, lambda: self._done(worker, run))

    def _done(self, worker: Worker, run: int) -> None:
        if run in self.server.runs.get(worker, {}):
            self.server.answered(worker, run)
            self._end("finished")

    def reject(self, error: Exception) -> None:
        self._end(error)

    def lost(self, worker: Worker) -> None:
        self._end("lost")

    def _end(self, outcome: object) -> None:
        self.outcome = outcome
        self.server.queue.limits.remove_unary(self.waiter.owner)
        self.ended()


@dataclass(eq=False, kw_only=True)
class Connection:
    """Asks again and again, one request at a time, until `until`."""

    server: Server
    owner: str
    session: str
    keys: list[Key]
    until: float
    sizes: tuple[int, int] = (1, 100)
    """Tokens of an answer, least and most."""
    think: float = 1.0
    """Mean seconds between an end and the next request."""
    stalls: Sequence[float] = ()
    """Seconds of one."""
    stalling: float = 0.0
    """Chances of what one request does."""
    cancelling: float = 0.0
    unary: float = 0.0
    unparkable: float = 0.0
    insisting: float = 0.0
    requests: list[Generation] = field(default_factory=list)
    errors: list[object] = field(default_factory=list)

    def start(self) -> None:
        think = self.server.random.expovariate(1 / self.think) if self.think else 0.0
        self.server.clock.after(think, self._ask)

    def _ask(self) -> None:
        random, server = self.server.random, self.server
        if server.now >= self.until:
            return
        binding, model = random.choice(self.keys)
        chance = random.random
        if chance() < self.unary:
            waiter = Waiter(
                binding=binding, model=model, owner=self.owner, insist=chance() < self.insisting
            )
            unary = Unary(server=server, waiter=waiter)
            unary.ended = lambda: self._ended(unary.outcome)
            return unary.start()
        tokens = random.randint(*self.sizes)
        waiter = Waiter(
            binding=binding, model=model, slot=True, owner=self.owner, session=self.session,
            parkable=binding not in server.world.frail and chance() >= self.unparkable,
        )  # fmt: skip
        generation = Generation(
            server=server, waiter=waiter, tokens=tokens, buffered=chance() < 0.5
        )
        while chance() < self.stalling:
            generation.stalls[random.randint(1, tokens)] = random.choice(self.stalls)
        generation.ended = lambda: self._ended(generation.outcome)
        self.requests.append(generation)
        if chance() < self.cancelling:
            server.clock.after(random.uniform(0, 20), generation.cancel)
        generation.start()

    def _ended(self, outcome: object) -> None:
        if outcome not in ("finished", "cancelled"):
            self.errors.append(outcome)
        if isinstance(outcome, Exception):  # a client that asks again at once would help nobody
            self.server.clock.after(0.5, self.start)
        else:
            self.start()
