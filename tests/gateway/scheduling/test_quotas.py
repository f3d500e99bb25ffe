"""A token's generations run and wait within its limits, in their order; a client's events too."""

import asyncio

import pytest

from gateway.errors import Busy
from gateway.scheduling import quotas
from gateway.scheduling.quotas import Quota, Quotas, RateLimit
from gateway.security.tokens_file import TokenHolder
from tests.support.harness import run


class Scene:
    """Generations of one token, each of which runs until it is told to end."""

    def __init__(self, running: int, waiting: int) -> None:
        self.quota = Quota(TokenHolder("alice", running, waiting))
        self.order: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.gos: list[asyncio.Event] = []

    async def ask(self) -> None:
        number = len(self.tasks)
        self.gos.append(asyncio.Event())
        self.tasks.append(asyncio.create_task(self._run(number)))
        await asyncio.sleep(0)

    async def _run(self, number: int) -> None:
        async with self.quota.admit():
            self.order.append(number)
            await self.gos[number].wait()

    async def end(self, number: int) -> None:
        self.gos[number].set()
        await self.tasks[number]
        await asyncio.sleep(0)

    def counts(self) -> tuple[int, int]:
        return self.quota.running, self.quota.waiting


def test_as_many_run_as_may_and_the_others_follow_in_their_order() -> None:
    async def scenario() -> None:
        scene = Scene(running=2, waiting=3)
        for _ in range(5):
            await scene.ask()
        assert scene.order == [0, 1] and scene.counts() == (2, 3)
        for number in (1, 0, 2, 3, 4):
            await scene.end(number)
            assert scene.quota.running <= 2
        assert scene.order == [0, 1, 2, 3, 4] and scene.counts() == (0, 0)

    run(scenario())


def test_one_more_than_may_wait_is_busy_at_once() -> None:
    async def scenario() -> None:
        scene = Scene(running=1, waiting=1)
        for _ in range(3):
            await scene.ask()
        with pytest.raises(Busy):
            await scene.tasks[2]
        await scene.end(0)
        await scene.end(1)
        assert scene.counts() == (0, 0)

    run(scenario())


def test_without_a_limit_nobody_waits() -> None:
    async def scenario() -> None:
        scene = Scene(running=0, waiting=0)
        for _ in range(20):
            await scene.ask()
        assert scene.counts() == (20, 0)
        for number in range(20):
            await scene.end(number)
        assert scene.counts() == (0, 0)

    run(scenario())


@pytest.mark.parametrize("given_its_turn", [False, True])
def test_one_that_gives_up_while_it_waits_takes_no_place_with_it(given_its_turn: bool) -> None:
    async def scenario() -> None:
        scene = Scene(running=1, waiting=4)
        for _ in range(3):
            await scene.ask()
        if given_its_turn:  # in this very moment, before its task has run
            scene.gos[0].set()
            await asyncio.sleep(0)
        scene.tasks[1].cancel()
        await asyncio.gather(scene.tasks[1], return_exceptions=True)
        await scene.end(0)
        assert 2 in scene.order and scene.counts() == (1, 0)
        await scene.end(2)
        assert scene.counts() == (0, 0)

    run(scenario())


def test_a_holder_has_one_quota_with_its_newest_limits() -> None:
    known = Quotas()
    first = known.of(TokenHolder("alice", 1, 1))
    assert known.of(TokenHolder("alice", 2, 3)) is first and first.holder.running == 2
    assert known.of(TokenHolder("", 0, 4)) is not first
    assert known.status() == {"alice": {"running": 0, "waiting": 0}}


def test_a_second_s_worth_at_once_and_that_again_every_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(quotas.time, "monotonic", lambda: now)
    limit = RateLimit(10)
    assert [limit.admits() for _ in range(12)] == [True] * 10 + [False] * 2
    now += 0.25
    assert [limit.admits() for _ in range(4)] == [True, True, False, False]
    now += 1000
    assert [limit.admits() for _ in range(12)] == [True] * 10 + [False] * 2
    assert all(RateLimit(0).admits() for _ in range(1000))


def test_bytes_are_counted_like_events_and_some_seconds_worth_may_come_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(quotas.time, "monotonic", lambda: now)
    limit = RateLimit(1000, seconds=2)
    assert [limit.admits(900) for _ in range(3)] == [True, True, False]
    assert limit.admits(200) and not limit.admits(1)
    now += 0.5
    assert not limit.admits(501) and limit.admits(500)
    now += 1000
    assert not limit.admits(2001) and limit.admits(2000)
