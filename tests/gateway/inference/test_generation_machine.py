"""Each accepted generation ends exactly once with the text that it should have, whatever happens.

The real request queue, fleet and generation states, driven through queue, load, generate, stall,
park, cancel, crash, continue, disconnect and reconnect. What has I/O is played here: workers,
their processes and the clients.
"""

import itertools
from collections import Counter
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.errors import LoadFailed, NoWorker
from gateway.inference.outcomes import Busy, Cancelled, Finished, Outcome
from gateway.inference.state import GenerationState
from gateway.scheduling.actions import Action, LoadModel, Park, Reject, Serve, StartWorker
from gateway.scheduling.policy import Policy
from gateway.scheduling.queue import RequestQueue
from gateway.scheduling.turns import Turn, Waiter
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol import messages
from protocol.messages import FinishReason, Hello, Loaded

BINDINGS = ("firm", "frail")
"""The second cannot resume."""
MODELS = ("m", "n", "o")
PROCESSES, SLOTS, MAX_QUEUE, OWNERS = 2, 2, 2, 3
POLICY = Policy(max_queue=MAX_QUEUE, slice=4.0, park_after=2.0, processes=lambda binding: PROCESSES)
STEPS, EXAMPLES = 100, 250
PICK = st.integers(0, 1000)
SELDOM = st.sampled_from([False, False, True])


def words(seed: int, count: int) -> str:
    return "".join(f"{seed}.{number} " for number in range(count))


def visible(seed: int, count: int) -> str:
    """What of it may be shown: now and then the last word is held back."""
    held = count > 0 and (seed + count) % 3 == 0
    return words(seed, count - held)


@dataclass(eq=False)
class Client:
    """What a user sees of one generation."""

    connected: bool = True
    reads: bool = True
    text: str = ""
    ends: list[Outcome] = field(default_factory=list)


@dataclass(eq=False)
class Asked:
    binding: str
    model: str
    seed: int
    length: int
    state: GenerationState
    client: Client = field(default_factory=Client)
    owner: str = ""
    waiter: Waiter | None = None
    parked: bool = False
    """It waits for its client to read."""
    unread_since: float = 0.0
    lost: bool = False
    parkings: int = 0
    told: list[Outcome] = field(default_factory=list)


@dataclass(eq=False)
class Run:
    """A generation in a worker."""

    id: int
    asked: Asked
    tokens: int
    """So many are computed."""
    sent: int
    """Characters of its text."""
    turn: Turn
    asked_to_end: bool = False
    """A Cancel is on its way to the worker."""
    cancelled: bool = False
    """It has arrived there."""
    unwanted: bool = False
    """Nobody waits for its answer."""


class Serving(RuleBasedStateMachine):
    steps = parkings = crossed = 0

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.fleet = Fleet()
        self.queue = RequestQueue(self.fleet, POLICY)
        self.ids = itertools.count(1)
        self.asked: list[Asked] = []
        self.runs: dict[Worker, list[Run]] = {}
        self.loads: dict[Worker, int] = {}
        self.starting: list[str] = []
        for binding in BINDINGS:
            self.come(binding, MODELS[0])

    def come(self, binding: str, model: str = "") -> None:
        """A worker says Hello."""
        name = f"{binding}.{next(self.ids)}".encode()
        hello = Hello(0, binding, 7, SLOTS, resumable=binding == "firm", model=model)
        self.runs[self.fleet.join(name, hello, self.now)] = []

    # What the gateway does.

    def schedule(self) -> None:
        for action in self.queue.schedule(self.now):
            self.do(action)

    def preempt(self) -> None:
        for action in self.queue.preempt(self.now):
            self.do(action)
        self.schedule()

    def do(self, action: Action) -> None:
        match action:
            case Serve(waiter, _, turn):
                assert turn
                self.run(self.of(waiter), turn)
            case Park(turn):
                assert turn.worker.resumable
                turn.park()
            case Reject(waiter, error):
                asked = self.of(waiter)
                asked.waiter = None
                self.tell(asked, asked.state.fail(str(error)))
            case LoadModel(worker, _):
                self.loads[worker] = next(self.ids)
                self.fleet.assign(worker, self.loads[worker], self.now)
            case StartWorker(binding):
                processes = len(self.fleet.of(binding)) + self.starting.count(binding)
                if processes < PROCESSES and binding not in self.starting:
                    self.starting.append(binding)
                elif binding not in self.starting:
                    self.queue.full.add(binding)

    def of(self, waiter: Waiter) -> Asked:
        return next(asked for asked in self.asked if asked.waiter is waiter)

    def run(self, asked: Asked, turn: Turn) -> None:
        worker, asked.waiter = turn.worker, None
        self.fleet.free(worker)
        assert (worker.binding, worker.model, worker.loading) == (asked.binding, asked.model, "")
        assert worker.resumable or not (asked.state.tokens or asked.state.length)
        state = asked.state
        run = Run(next(self.ids), asked, len(state.tokens), state.length, turn)
        turn.unread_since = asked.unread_since
        turn.park = lambda: self.send_cancel(run)
        self.runs[worker].append(run)
        self.fleet.assign(worker, run.id, self.now, slot=True)

    def send_cancel(self, run: Run) -> None:
        run.asked_to_end = True

    def wait(self, asked: Asked, *, first: bool = False, admitted: bool = False) -> None:
        asked.waiter = Waiter(
            binding=asked.binding, model=asked.model, slot=True, owner=asked.owner,
            session=str(asked.seed % 2), first=first, admitted=admitted, parkable=True,
        )  # fmt: skip
        self.queue.join(asked.waiter)
        self.schedule()
        if asked.waiter and (refused := self.queue.overflow(asked.waiter)):
            assert refused.waiter is asked.waiter
            asked.waiter = None
            self.tell(asked, asked.state.refuse())

    def tell(self, asked: Asked, outcome: Outcome | None) -> None:
        if outcome:
            asked.told.append(outcome)
            if asked.client.connected:
                asked.client.ends.append(outcome)

    def stop(self, asked: Asked) -> None:
        """Nobody waits for it any more; its worker hears of it later."""
        if asked.waiter:
            self.queue.leave(asked.waiter)
            asked.waiter = None
        asked.parked = False
        for run in itertools.chain.from_iterable(self.runs.values()):
            if run.asked is asked and not run.unwanted:
                run.asked_to_end = run.unwanted = True
                self.queue.end_turn(run.turn)
        self.schedule()

    # What happens.

    @rule(pick=PICK, length=st.integers(1, 30))
    def generate(self, pick: int, length: int) -> None:
        binding, model = BINDINGS[pick % 5 == 0], MODELS[pick % 3]
        state = GenerationState(str(len(self.asked)))
        asked = Asked(binding, model, len(self.asked), length, state, owner=f"o{pick % OWNERS}")
        self.asked.append(asked)
        self.wait(asked)

    @precondition(lambda self: self.starting)
    @rule(comes=st.integers(0, 9))
    def start_ends(self, comes: int) -> None:
        binding = self.starting.pop()
        if comes:
            self.come(binding)
            self.queue.full.discard(binding)
            self.queue.circuits.close((binding, ""))
        elif not self.fleet.of(binding):
            self.queue.circuits.failed((binding, ""), "it died", self.now, 5, blocks_requests=True)
            for rejected in self.queue.reject(NoWorker("it died"), binding):
                self.do(rejected)
        self.schedule()

    @precondition(lambda self: self.loads)
    @rule(pick=PICK, fine=st.integers(0, 9))
    def load_ends(self, pick: int, fine: int) -> None:
        worker = list(self.loads)[pick % len(self.loads)]
        id, model = self.loads.pop(worker), worker.loading
        if fine:
            self.fleet.loaded(worker, Loaded(id, model, 0, slots=SLOTS), self.now)
            self.queue.circuits.close((worker.binding, model))
            self.queue.changed(worker)
        self.fleet.release(worker, id, self.now)
        if not fine:
            self.fleet.load_failed(worker)
            self.load_failed(worker, model, deadly=False)
        self.schedule()

    def load_failed(self, worker: Worker, model: str, *, deadly: bool) -> None:
        key = worker.binding, model
        self.queue.circuits.failed(key, "it broke", self.now, 2, blocks_requests=deadly)
        for rejected in self.queue.reject(LoadFailed("it broke"), worker.binding, model):
            self.do(rejected)

    def running(self) -> list[tuple[Worker, Run]]:
        return [(worker, run) for worker, runs in self.runs.items() for run in runs]

    @precondition(lambda self: self.running())
    @rule(pick=PICK, count=st.integers(1, 3), arrives=SELDOM)
    def advance(self, pick: int, count: int, *, arrives: bool) -> None:
        """If it `arrives`, a Cancel for it reaches its worker before."""
        running = self.running()
        worker, run = running[pick % len(running)]
        run.cancelled |= run.asked_to_end and arrives
        for _ in range(count):
            if run in self.runs[worker]:
                self.one_token(worker, run)
        self.schedule()

    @precondition(lambda self: self.running())
    @rule(arrives=SELDOM)
    def advance_all(self, *, arrives: bool) -> None:
        for worker, run in self.running():
            run.cancelled |= run.asked_to_end and arrives
            if run in self.runs[worker]:
                self.one_token(worker, run)
        self.schedule()

    def one_token(self, worker: Worker, run: Run) -> None:
        asked, state = run.asked, run.asked.state
        if run.tokens < asked.length and not run.cancelled:
            run.tokens += 1
            self.chunk(run, visible(asked.seed, run.tokens), [run.tokens])
        if run.cancelled or run.tokens == asked.length:
            self.chunk(run, words(asked.seed, run.tokens), [])
            self.release(worker, run)
            if run.unwanted:
                return
            self.queue.end_turn(run.turn)
            # A Cancel that crossed the end of a text changes nothing.
            if run.tokens < asked.length:
                self.park(asked, run)
            else:
                Serving.crossed += run.turn.parking
                finished = messages.Finished(run.id, FinishReason.STOP, run.tokens)
                self.tell(asked, state.finish(finished))

    def park(self, asked: Asked, run: Run) -> None:
        assert run.turn.parking
        asked.parkings += 1
        Serving.parkings += 1
        if asked.unread_since:
            asked.parked = True
        else:
            self.wait(asked, admitted=True)

    def chunk(self, run: Run, text: str, tokens: list[int]) -> None:
        new = text[run.sent :]
        run.sent += len(new)
        asked = run.asked
        run.turn.start_seconds = run.turn.start_seconds or 0.1
        if asked.state.take(new, tokens, len(tokens)) and asked.client.connected:
            asked.client.text += new
            if not asked.client.reads:
                self.note_unread(asked, asked.unread_since or self.now)

    def note_unread(self, asked: Asked, since: float) -> None:
        asked.unread_since = since
        for _, run in self.running():
            if run.asked is asked:
                run.turn.unread_since = since

    @precondition(lambda self: self.living())
    @rule(pick=PICK)
    def stall(self, pick: int) -> None:
        """Its client stops reading."""
        self.living()[pick % len(self.living())].client.reads = False

    @precondition(lambda self: self.living())
    @rule(pick=PICK)
    def read(self, pick: int) -> None:
        """A client reads all that waits for it."""
        stalled = [asked for asked in self.living() if not asked.client.reads]
        if stalled:
            self.catch_up(stalled[pick % len(stalled)])

    def catch_up(self, asked: Asked) -> None:
        asked.client.reads = True
        self.note_unread(asked, 0.0)
        if asked.parked:
            asked.parked = False
            self.wait(asked, admitted=True)

    def release(self, worker: Worker, run: Run) -> None:
        self.runs[worker].remove(run)
        self.fleet.release(worker, run.id, self.now)

    @precondition(lambda self: self.runs)
    @rule(pick=PICK, does=SELDOM)
    def crash(self, pick: int, does: bool) -> None:
        if not does:
            return
        busy = [worker for worker, runs in self.runs.items() if runs]
        workers = busy if busy and pick % 4 else list(self.runs)
        worker = workers[pick % len(workers)]
        self.queue.full.discard(worker.binding)
        self.fleet.lose(worker.identity, self.now)
        self.queue.changed(worker)
        runs, loading = self.runs.pop(worker), self.loads.pop(worker, None)
        if loading is not None:
            self.load_failed(worker, worker.loading, deadly=True)
        for run in runs:
            if run.unwanted:
                continue
            self.queue.end_turn(run.turn)
            if run.asked.state.fail_over(resumable=worker.resumable):
                run.asked.lost = True
                self.wait(run.asked, first=True)
            else:
                self.tell(run.asked, run.asked.state.fail("its worker died"))
        self.schedule()

    def living(self) -> list[Asked]:
        return [asked for asked in self.asked if not asked.state.outcome]

    @precondition(lambda self: self.living())
    @rule(pick=PICK, does=SELDOM)
    def cancel(self, pick: int, does: bool) -> None:
        if not does:
            return
        asked = self.living()[pick % len(self.living())]
        self.tell(asked, asked.state.cancel())
        self.stop(asked)

    @precondition(lambda self: self.living())
    @rule(pick=PICK)
    def disconnect(self, pick: int) -> None:
        """Its connection is gone; for a while the generation goes on without it."""
        asked = self.living()[pick % len(self.living())]
        asked.client.connected = False
        self.catch_up(asked)  # nothing waits for it any more

    def away(self) -> list[Asked]:
        return [asked for asked in self.asked if (not asked.client.connected and asked.told != [])
                or (not asked.client.connected and not asked.state.outcome)]  # fmt: skip

    @precondition(lambda self: self.away())
    @rule(pick=PICK)
    def reconnect(self, pick: int) -> None:
        """It gets what it has missed."""
        asked = self.away()[pick % len(self.away())]
        client = asked.client
        client.connected = True
        client.text += asked.state.text[len(client.text) :]
        client.ends += asked.told[len(client.ends) :]

    @precondition(lambda self: any(not asked.client.connected for asked in self.living()))
    @rule(pick=PICK, does=SELDOM)
    def stays_away(self, pick: int, does: bool) -> None:
        if not does:
            return
        gone = [asked for asked in self.living() if not asked.client.connected]
        asked = gone[pick % len(gone)]
        self.tell(asked, asked.state.abandon())
        self.stop(asked)

    @rule(seconds=st.integers(1, 10))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.preempt()

    # What is always so.

    @invariant()
    def no_worker_has_more_than_it_takes(self) -> None:
        for worker, runs in getattr(self, "runs", {}).items():
            assert worker.occupied <= worker.slots and worker.reserved == 0
            assert worker.generations == {run.id for run in runs}
            assert not (worker in self.loads and runs), "a load disturbs nobody"
            assert worker.requests == {run.id for run in runs} | (
                {self.loads[worker]} if worker in self.loads else set()
            )

    @invariant()
    def each_ends_once_and_is_somewhere_until_then(self) -> None:
        for asked in getattr(self, "asked", []):
            state, client = asked.state, asked.client
            here = [run for _, run in self.running() if run.asked is asked and not run.unwanted]
            waits = (asked.waiter is not None) + asked.parked
            assert len(here) + waits == (state.outcome is None)
            assert asked.told == ([state.outcome] if state.outcome else [])
            assert client.ends == asked.told[: len(client.ends)]
            assert state.text.startswith(client.text)
            if client.connected:
                assert client.text == state.text and client.ends == asked.told
            assert words(asked.seed, asked.length).startswith(state.text)
            assert state.failovers == asked.lost
            admitted = asked.lost or asked.parkings
            assert not (admitted and isinstance(state.outcome, Busy)), "it was admitted long ago"
            assert asked.binding == "firm" or not asked.parkings, "it could not be continued"
            if isinstance(state.outcome, Finished | Cancelled):
                assert state.outcome.text == state.text
            if isinstance(state.outcome, Finished):
                assert state.text == words(asked.seed, asked.length)
                assert state.tokens == list(range(1, asked.length + 1))

    @invariant()
    def no_more_wait_than_may(self) -> None:
        Serving.steps += 1
        if hasattr(self, "queue"):
            waiting = [a.waiter for a in self.asked if a.waiter and a.waiter.limited]
            counts = Counter((waiter.owner, waiter.key) for waiter in waiting)
            assert max(counts.values(), default=0) <= MAX_QUEUE
            running = {run.turn for _, run in self.running() if not run.unwanted}
            assert set(self.queue.turns) == running

    def teardown(self) -> None:
        """When nothing breaks any more, nobody waits for ever."""
        for turn in range(50 * len(getattr(self, "asked", []))):
            if not self.living():
                break
            if self.starting:
                self.start_ends(comes=1)
            if self.loads:
                self.load_ends(pick=0, fine=1)
            for asked in self.living():
                self.catch_up(asked)
            if self.running():
                self.advance(pick=0, count=3, arrives=turn % 2 > 0)
            self.time_passes(1)
            self.each_ends_once_and_is_somewhere_until_then()
        assert not hasattr(self, "asked") or not self.living()


def test_each_generation_ends_once_with_its_text_whatever_happens() -> None:
    Serving.steps = Serving.parkings = Serving.crossed = 0
    run_state_machine_as_test(
        Serving,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    assert Serving.steps >= 10_000
    assert Serving.parkings and Serving.crossed
