"""Requests wait in their order for a worker, and nobody is forgotten."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import Busy, LoadFailed, NoWorker, StartFailed
from gateway.observability.metrics import Metrics
from gateway.scheduling.dispatcher import Dispatcher
from gateway.scheduling.notices import ModelStatus, Notice
from gateway.scheduling.policy import Policy
from gateway.scheduling.quarantine import Fingerprint, Quarantine
from gateway.scheduling.turns import Waiter
from gateway.workers.fleet import Fleet
from gateway.workers.link import WITHDRAWN
from gateway.workers.worker import Worker
from protocol.messages import Failed, Hello, Load, Loaded
from tests.support.harness import PATIENCE, run


class Workers:
    """A link in memory: loading succeeds or fails as its tables say, when `go` is set."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.broken: dict[str, str] = {}
        self.deadly: list[str] = []
        """Models whose next load kills the worker, as often as they are named."""
        self.loads: list[tuple[str, str]] = []
        self.failed: list[str] = []
        self.tagged: list[Hashable] = []
        self.on_fail: Callable[[], None] = lambda: None
        self.go = asyncio.Event()
        self.go.set()
        self._ids = 0

    @contextlib.asynccontextmanager
    async def request(
        self, worker: Worker, build: Callable[[int], Load], progress: Any = None
    ) -> AsyncIterator[SimpleNamespace]:
        self._ids += 1
        load = build(self._ids)
        self.loads.append((worker.name, load.model))
        self.fleet.assign(worker, load.id, 0)
        try:
            yield SimpleNamespace(answer=self._answer(worker, load))
        finally:
            self.fleet.release(worker, load.id, 0)

    async def _answer(self, worker: Worker, load: Load) -> Loaded | Failed:
        await self.go.wait()
        if load.model in self.deadly:
            self.deadly.remove(load.model)
            self.fleet.lose(worker.identity)
            return Failed(load.id, "worker_lost", "the worker died")
        if reason := self.broken.get(load.model):
            return Failed(load.id, "binding_error", reason)
        answer = Loaded(load.id, load.model, 0, slots=worker.slots)
        self.fleet.loaded(worker, answer, 0)
        return answer

    def fail(self, worker: Worker, how: str) -> None:
        self.on_fail()
        self.failed.append(how)

    def tags(self, worker: Worker) -> list[Hashable]:
        return self.tagged


class Scene:
    """A dispatcher, the provider that starts its workers, and the messages that load models."""

    def __init__(
        self, processes: int = 0, slots: int = 1, max_queue: int = 4, slice: float = 0
    ) -> None:
        self.fleet = Fleet()
        self.started = 0
        self.processes = processes
        self.slots = slots
        self.workers = Workers(self.fleet)
        self.wanted = ""
        self.mistakes: set[str] = set()
        """Where something raises that no code expects."""
        self.present: set[int] = set()
        """Pids that the provider was told of."""
        self.quarantine = Quarantine(100)
        self.metrics = Metrics()
        link: Any = self.workers
        here: Any = self
        self.dispatcher = Dispatcher(
            self.fleet, link, here, here, self.quarantine,
            Policy(max_queue=max_queue, slice=slice), self.metrics,
            preload=lambda binding: self.wanted, start_timeout=0.2,
        )  # fmt: skip

    async def start_worker(self, binding: str, _: Any, present: set[int], *__: Any) -> bool:
        self.present = present
        if "start" in self.mistakes:
            raise ZeroDivisionError
        if not self.processes:
            raise NoWorker(f"no process of {binding} can be started")
        if self.started == self.processes:
            return False
        self.started += 1
        asyncio.get_running_loop().call_soon(self.join, f"started{self.started}")
        return True

    async def post_mortem(self, worker: Worker, how: str) -> str:
        return f"{how} of SIGSEGV"

    async def is_local(self, binding: str, model: str) -> bool:
        return True

    async def build(self, worker: Worker, model: str) -> Callable[[int], Load]:
        if model == "missing":
            raise LoadFailed("there is no such model")
        if "message" in self.mistakes:
            raise ZeroDivisionError
        unsendable = "link" in self.mistakes
        return lambda id: Load(id // 0 if unsendable else id, model)

    def join(self, name: str, model: str = "", entry: str = "") -> Worker:
        hello = Hello(protocol=0, binding="b", pid=7, slots=self.slots, model=model)
        worker = self.fleet.join(name.encode(), hello, 0, entry)
        self.dispatcher.joined(worker)
        return worker

    def hold(self, model: str = "m") -> "Held":
        return Held(self, model)


class Held:
    """A request that runs until it is let go."""

    def __init__(self, scene: Scene, model: str) -> None:
        self._scene, self._model = scene, model
        self.on: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._go = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        fleet = self._scene.fleet
        waiter = Waiter(binding="b", model=self._model, slot=True)
        async with self._scene.dispatcher.slot(waiter) as turn:
            worker = turn.worker
            fleet.assign(worker, id(self), 0, slot=True)
            self.on.set_result(worker)
            try:
                await self._go.wait()
            finally:
                fleet.release(worker, id(self), 0)
                self._scene.dispatcher.released(worker)

    async def runs(self) -> Worker:
        done, _ = await asyncio.wait(
            {self.task, self.on}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
        )
        if self.task in done:
            await self.task
        return self.on.result()

    async def let_go(self) -> None:
        self._go.set()
        await self.task


async def settled() -> None:
    """All that can happen now has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


def scene(test: Callable[[Scene], Any], **options: int) -> None:
    async def scenario() -> None:
        made = Scene(**options)
        try:
            await test(made)
        finally:
            await made.dispatcher.close()
        assert all(worker.reserved == 0 for worker in made.fleet.all())

    run(scenario())


def test_an_empty_worker_loads_once_for_all_who_wait() -> None:
    async def test(here: Scene) -> None:
        worker = here.join("w")
        got = await asyncio.gather(*(here.dispatcher.ensure("b", "m") for _ in range(5)))
        assert got == [worker] * 5 and here.workers.loads == [("w", "m")]

    scene(test)


def test_a_load_in_progress_is_listed_until_it_ends() -> None:
    async def test(here: Scene) -> None:
        worker = here.join("w")
        here.workers.go.clear()
        loads = [asyncio.create_task(here.dispatcher.ensure("b", "m"))]
        await settled()
        assert here.dispatcher.loader.progress == {worker: None}
        here.workers.go.set()
        await asyncio.gather(*loads)
        assert here.dispatcher.loader.progress == {}

    scene(test)


def test_one_process_is_started_for_all_who_wait() -> None:
    async def test(here: Scene) -> None:
        await asyncio.gather(*(here.dispatcher.ensure("b", "m") for _ in range(5)))
        assert here.started == 1 and here.workers.loads == [("started1", "m")]

    scene(test, processes=3)


def test_another_model_gets_another_process_as_long_as_there_are_some() -> None:
    async def test(here: Scene) -> None:
        one, two, three = [await here.dispatcher.ensure("b", model) for model in ("m", "n", "o")]
        assert here.started == 2 and one is not two
        assert three is one, "the one used longest ago"
        assert {worker.model for worker in here.fleet.all()} == {"n", "o"}

    scene(test, processes=2)


def test_a_full_worker_is_waited_for_in_the_order_of_asking() -> None:
    async def test(here: Scene) -> None:
        here.join("w", "m")
        first = here.hold()
        await first.runs()
        waiting = [here.hold() for _ in range(3)]
        await settled()
        assert here.dispatcher.waiting == 3
        for held, follows in zip([first, *waiting[:-1]], waiting, strict=True):
            assert not follows.on.done()
            await held.let_go()
            await follows.runs()
        await waiting[-1].let_go()

    scene(test)


def test_a_full_queue_is_busy_at_once_and_forgets_whom_it_refused() -> None:
    async def test(here: Scene) -> None:
        here.join("w", "m")
        running = here.hold()
        await running.runs()
        waiting = [here.hold() for _ in range(2)]
        await settled()
        with pytest.raises(Busy):
            await here.hold().runs()
        assert here.dispatcher.waiting == 2
        for held in (running, *waiting):
            await held.runs()
            await held.let_go()

    scene(test, max_queue=2)


def test_who_leaves_the_queue_leaves_its_place() -> None:
    async def test(here: Scene) -> None:
        here.join("w", "m")
        running = here.hold()
        await running.runs()
        leaves, stays = here.hold(), here.hold()
        await settled()
        leaves.task.cancel()
        await asyncio.gather(leaves.task, return_exceptions=True)
        assert here.dispatcher.waiting == 1
        await running.let_go()
        await stays.runs()
        await stays.let_go()

    scene(test)


def test_what_was_promised_to_one_who_leaves_goes_to_the_next() -> None:
    """Cancelled between the promise and the first frame: the slot must not be lost."""

    async def test(here: Scene) -> None:
        worker = here.join("w", "m")
        running = here.hold()
        await running.runs()
        leaves, stays = here.hold(), here.hold()
        await settled()
        running._go.set()
        while not worker.reserved:
            await asyncio.sleep(0)
        leaves.task.cancel()
        await stays.runs()
        await asyncio.gather(running.task, leaves.task, return_exceptions=True)
        await stays.let_go()

    scene(test)


def test_a_load_that_fails_is_told_to_those_who_want_it_only() -> None:
    async def test(here: Scene) -> None:
        here.workers.broken["bad"] = "the file is broken at byte 17"
        here.workers.go.clear()
        here.join("w1")
        here.join("w2")
        bad = [asyncio.create_task(here.dispatcher.ensure("b", "bad")) for _ in range(2)]
        good = asyncio.create_task(here.dispatcher.ensure("b", "good"))
        await settled()
        here.workers.go.set()
        for task in bad:
            with pytest.raises(LoadFailed, match="byte 17"):
                await task
        assert (await good).model == "good"
        here.workers.broken.clear()
        assert (await here.dispatcher.ensure("b", "bad")).model == "bad", "it may be tried again"

    scene(test)


@pytest.mark.parametrize("where", ["message", "link"])
def test_an_error_of_ours_fails_the_load_and_frees_the_worker(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(here: Scene) -> None:
        here.mistakes = {where}
        worker = here.join("w1")
        with pytest.raises(LoadFailed, match="see its log"):
            await here.dispatcher.ensure("b", "m")
        assert not worker.loading and "ZeroDivisionError" in caplog.text
        here.mistakes.clear()
        assert await here.dispatcher.ensure("b", "m", insist=True) is worker
        assert worker.model == "m"

    scene(test)


def test_an_error_of_ours_while_a_worker_starts_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def test(here: Scene) -> None:
        here.mistakes = {"start"}
        with pytest.raises(NoWorker, match="see its log"):
            await here.dispatcher.ensure("b", "m")
        assert "ZeroDivisionError" in caplog.text
        here.mistakes.clear()
        assert (await here.dispatcher.ensure("b", "m")).model == "m"

    scene(test, processes=1)


def test_who_wants_to_run_outlives_one_death_by_loading_and_not_two() -> None:
    async def test(here: Scene) -> None:
        here.workers.deadly = ["once", "twice", "twice"]
        asked = asyncio.create_task(here.dispatcher.ensure("b", "once"))
        waits = here.hold("once")
        with pytest.raises(LoadFailed, match="the worker died"):
            await asked
        await waits.runs()
        await waits.let_go()
        with pytest.raises(LoadFailed, match="the worker died"):
            await here.hold("twice").runs()
        assert here.workers.deadly == [] and here.workers.loads[-1][1] == "twice"
        # And whoever comes next is not worth another process, unless the model is asked for.
        count = len(here.workers.loads)
        with pytest.raises(LoadFailed, match="the next try is in 4 s"):
            await here.hold("twice").runs()
        assert len(here.workers.loads) == count
        await here.dispatcher.ensure("b", "twice", insist=True)

    scene(test, processes=5)


def test_a_binding_that_does_not_start_is_not_tried_again_unless_it_is_selected() -> None:
    async def test(here: Scene) -> None:
        tries = []

        async def start(binding: str, *_: Any) -> bool:
            tries.append(binding)
            raise StartFailed("it died at once")

        here.start_worker = start  # type: ignore[method-assign]
        for _ in range(3):
            with pytest.raises(NoWorker, match="it died at once"):
                await here.hold("m").runs()
        assert len(tries) == 1
        with pytest.raises(NoWorker, match=r"it died at once$"):
            await here.dispatcher.ensure_worker("b")
        assert len(tries) == 2
        here.join("w")
        await here.dispatcher.ensure("b", "m")

    scene(test)


def test_a_failing_load_leaves_the_old_model_serving() -> None:
    async def test(here: Scene) -> None:
        worker = here.join("w", "old")
        for name in ("bad", "missing"):
            here.workers.broken["bad"] = "no"
            with pytest.raises(LoadFailed):
                await here.dispatcher.ensure("b", name)
        held = here.hold("old")
        assert await held.runs() is worker
        await held.let_go()

    scene(test)


def test_without_any_process_there_is_no_hope_and_it_is_said() -> None:
    async def test(here: Scene) -> None:
        for ask in (here.dispatcher.ensure("b", "m"), here.dispatcher.ensure_worker("b")):
            with pytest.raises(NoWorker, match="can be started"):
                await ask
        with pytest.raises(NoWorker):
            await here.hold().runs()
        assert here.dispatcher.waiting == 0

    scene(test)


def test_a_process_that_never_says_hello_is_not_waited_for_for_ever() -> None:
    async def test(here: Scene) -> None:
        here.join = lambda name, model="": None  # type: ignore[assignment,method-assign,return-value]
        with pytest.raises(NoWorker, match=r"no worker of the binding b answered within 0\.2 s"):
            await here.dispatcher.ensure("b", "m")

    scene(test, processes=1)


def test_a_busy_worker_is_drained_and_the_requests_that_came_meanwhile_come_after() -> None:
    async def test(here: Scene) -> None:
        worker = here.join("w", "m")
        running = here.hold("m")
        await running.runs()
        other = asyncio.create_task(here.dispatcher.ensure("b", "n"))
        await settled()
        assert worker.draining == ("b", "n")
        late = here.hold("m")
        await settled()
        assert not late.on.done()
        await running.let_go()
        await other
        await late.runs()
        assert here.workers.loads == [("w", "n"), ("w", "m")]
        await late.let_go()

    scene(test, slots=2)


def test_draining_ends_when_who_wanted_it_leaves() -> None:
    async def test(here: Scene) -> None:
        worker = here.join("w", "m")
        running = here.hold("m")
        await running.runs()
        other = asyncio.create_task(here.dispatcher.ensure("b", "n"))
        await settled()
        assert worker.draining == ("b", "n")
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        second = here.hold("m")
        await second.runs()
        assert worker.draining is None and here.workers.loads == []
        await running.let_go()
        await second.let_go()

    scene(test, slots=2)


def test_what_a_lost_worker_held_is_loaded_by_its_successor_before_anybody_asks() -> None:
    async def test(here: Scene) -> None:
        before = here.join("before", "m")
        here.fleet.lose(before.identity)
        here.dispatcher.lost(before, "died")
        await settled()
        assert here.workers.failed == ["died of SIGSEGV"]
        after = here.join("after")
        await settled()
        assert after.model == "m" and here.workers.loads == [("after", "m")]

    scene(test)


def test_the_wanted_model_is_loaded_once_and_not_by_every_newcomer() -> None:
    async def test(here: Scene) -> None:
        here.wanted = "m"
        for name in ("one", "two", "three"):
            here.join(name)
        await settled()
        assert here.workers.loads == [("one", "m")]

    scene(test)


def test_a_worker_is_an_answer_where_no_model_is_asked_for() -> None:
    async def test(here: Scene) -> None:
        told: list[Notice] = []
        await here.dispatcher.ensure_worker("b", told.append)
        await here.dispatcher.ensure_worker("b", told.append)
        assert here.started == 1 and here.workers.loads == []
        assert told == [ModelStatus("b", "", "starting")]

    scene(test, processes=2)


def test_a_worker_that_retired_leaves_its_model_asleep_until_it_is_loaded_again() -> None:
    async def test(here: Scene) -> None:
        worker = here.join("w", "m")
        here.fleet.retire(worker, 0)
        here.fleet.lose(worker.identity)
        here.dispatcher.lost(worker, "died")
        await settled()
        assert here.dispatcher.asleep == {("b", "m")}
        await here.dispatcher.ensure("b", "m")
        assert here.dispatcher.asleep == set() and here.started == 1

    scene(test, processes=1)


def test_a_crash_is_in_quarantine_before_its_requests_fail() -> None:
    """Who is told of the failure may send the request again at once."""

    async def test(here: Scene) -> None:
        deadly = Fingerprint("b", "m", "deadly")
        here.workers.tagged = [deadly, "of another kind"]
        for name in ("first", "second"):
            worker = here.join(name, "m")
            here.fleet.lose(worker.identity)
            here.workers.on_fail = lambda: quarantined.append(
                here.quarantine.is_quarantined(deadly)
            )
            here.dispatcher.lost(worker, "died")
            await settled()
        assert quarantined == [False, True]

    quarantined: list[bool] = []
    scene(test)


def test_a_withdrawn_key_is_no_crash() -> None:
    async def test(here: Scene) -> None:
        here.workers.tagged = [Fingerprint("b", "m", "harmless")]
        for name in ("first", "second"):
            worker = here.join(name, "m", entry="rack7 key")
            here.fleet.lose(worker.identity)
            here.dispatcher.lost(worker, WITHDRAWN)
            await settled()
        assert here.quarantine.status(0) == []

    scene(test)


def test_the_pid_of_a_remote_worker_is_not_taken_for_a_process_here() -> None:
    async def test(here: Scene) -> None:
        remote = here.join("remote", "other", entry="rack7 key")
        here.fleet.reserve(remote)
        await here.dispatcher.ensure("b", "m")
        here.fleet.free(remote)
        assert here.started == 1 and here.present == set()

    scene(test, processes=1)


def test_a_worker_that_was_asked_to_stop_is_no_crash() -> None:
    async def test(here: Scene) -> None:
        here.workers.tagged = [Fingerprint("b", "m", "harmless")]
        for name in ("first", "second"):
            worker = here.join(name, "m")
            here.fleet.retire(worker, 0)
            here.fleet.lose(worker.identity)
            here.dispatcher.lost(worker, "died")
            await settled()
        assert here.quarantine.status(0) == []

    scene(test)
