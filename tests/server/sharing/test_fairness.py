"""One holder with many greedy connections does not displace another, and nor does a crowd."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.server.contract.test_backpressure import metric, prompt
from tests.server.contract.test_generation import ends_once, select
from tests.server.security.test_access import ALICE, BOB, tokens
from tests.support.closed_loop import closed_loop, until_begun
from tests.support.harness import Home, client, home, names, run, until

GREEDY = 90
SECONDS, TRIES = 1.5, 8
"""Of a measurement, and how often it is made longer by as much."""
SLOTS = {"narrow": 1, "echo": 64}
GUARANTEED = 0.4
"""Of the fair half, which others leave to one client at least."""
SLICE = 0.05

WORKLOADS = [
    pytest.param("narrow", "lorem-2ms", 10, id="one slot, short answers"),
    pytest.param("narrow", "lorem-2ms", 100_000, id="one slot, endless answers"),
    pytest.param("echo", "lorem-10ms", 20, id="64 slots, short answers"),
]


def opened(folder: Path, bindings: Path) -> Iterator[Home]:
    with home(
        folder, bindings_path=str(bindings), binding_name="echo", model_name="lorem-10ms",
        slice=str(SLICE), drain_limit="1",
    ) as server:  # fmt: skip
        server.gateway()
        for binding in ("echo", "narrow"):
            server.worker(binding)
        server.headers = {"Authorization": f"Bearer {BOB}"}
        server.ready()
        yield server


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("tokens")
    tokens(folder, f"alice {ALICE}\nbob {BOB}\n")
    yield from opened(folder, bindings)


@pytest.fixture(scope="module")
def without_tokens(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    yield from opened(tmp_path_factory.mktemp("addresses"), bindings)


async def one_against_many(
    server: Home, binding: str, model: str, words: int, one: dict[str, str], many: dict[str, str]
) -> None:
    """The fair half is what a client that asks again at once could take of half of the slots: what
    comes out of one slot, but not more than half of all. On a busy machine there are few turns in
    a second, so it may take some."""
    request = prompt(words)
    where = {"binding": binding, "model": model}
    async with (
        closed_loop(server, GREEDY, request, **where, **many) as theirs,
        closed_loop(server, 1, request, **where, **one) as mine,
    ):
        await until_begun(theirs)
        await until_begun(mine)
        mine.words = theirs.words = 0
        got = -1.0
        for _ in range(TRIES):
            await asyncio.sleep(SECONDS)
            fair_half = (mine.words + theirs.words) / max(2, SLOTS[binding])
            got = mine.words / fair_half
            if got >= GUARANTEED:
                break
    print(f"\n{binding}, {words} words: {got:.2f} of the fair half")
    assert got >= GUARANTEED
    assert mine.refused == 0


@pytest.mark.parametrize(("binding", "model", "words"), WORKLOADS)
def test_ninety_greedy_connections_leave_another_holder_its_share(
    with_tokens: Home, binding: str, model: str, words: int
) -> None:
    run(one_against_many(with_tokens, binding, model, words, {"token": BOB}, {"token": ALICE}))


@pytest.mark.parametrize(("binding", "model", "words"), WORKLOADS[:1])
def test_without_tokens_addresses_are_told_apart(
    without_tokens: Home, binding: str, model: str, words: int
) -> None:
    many = {"address": "127.0.0.2"}
    run(one_against_many(without_tokens, binding, model, words, {}, many))


def test_a_crowd_before_a_loading_model_makes_nobody_buzzy_who_wants_another(
    tmp_path: Path, bindings: Path
) -> None:
    """Not even a client with the same owner, whose share for that model is used up."""
    crowd, share = 24, 16
    with home(
        tmp_path, bindings_path=str(bindings), binding_name="crowded", model_name="late",
        max_queue=str(share),
    ) as server:  # fmt: skip
        server.gateway()
        server.worker("echo")

        server.worker("crowded")
        until(lambda: " loads late" in server.log("gateway"), "the load")

        async def scenario() -> list[str]:
            async with AsyncExitStack() as stack, client(server) as other:
                clients = [await stack.enter_async_context(client(server)) for _ in range(crowd)]
                tasks = [asyncio.create_task(each.generate("x", n_predicts=3)) for each in clients]
                while sum(task.done() for task in tasks) < crowd - share:
                    await asyncio.sleep(0.01)
                assert metric(server, "requests_waiting") == share
                await select(other, "echo", "lorem")  # it changes the default for all
                for _ in range(3):
                    events = await other.generate("x", n_predicts=3)
                    assert len(ends_once(events)["text"].split()) == 3
                (tmp_path / "tmp" / "crowded" / "go").touch()
                return [names(await task)[-1] for task in tasks]

        ends = Counter(run(scenario()))
        assert ends == {"buzzy": crowd - share, "text_generated": share}
