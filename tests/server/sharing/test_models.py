"""Several models at a time without configuration: as many as memory and `max_models` allow."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.sharing.test_turns import select
from tests.support.harness import Client, Home, chunks, client, home, run
from tests.support.invariants import stopped

SLICE = "0.3"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    """A supervised server with automatic processes."""
    with (
        home(
            tmp_path_factory.mktemp("home"), bindings_path=str(bindings), binding_name="echo",
            model_name="lorem", slice=SLICE, drain_limit="1",
        ) as opened,
        stopped(opened),
    ):  # fmt: skip
        opened.launch()
        yield opened


def held(server: Home) -> dict[str, str]:
    """Model to binding of all workers."""
    workers = json.loads(server.http("/status")[1])["workers"]
    return {each["model"]: each["binding"] for each in workers if each["model"]}


async def count(connected: Client, tokens: int) -> str:
    events = await connected.generate("x", n_predicts=tokens)
    assert events[-1][0] == "text_generated", events[-1]
    return chunks(events)


def numbers(tokens: int) -> str:
    return "".join(f"{number} " for number in range(tokens))


def test_each_model_gets_a_worker_and_the_one_used_longest_ago_makes_room(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            for model in ("lorem", "lorem-10ms", "echo"):
                await select(connected, "echo", model)
                await count(connected, 1)
            assert held(server).keys() == {"lorem", "lorem-10ms", "echo"}
            await select(connected, "hungry", "2")
            await count(connected, 1)
            assert held(server).keys() == {"lorem-10ms", "echo", "2"}

    run(scenario())


def test_a_model_that_does_not_fit_beside_others_takes_the_place_of_idle_ones(
    server: Home,
) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            for model in ("2", "3"):
                await select(connected, "hungry", model)
                await count(connected, 1)
            assert {"2", "3"} <= held(server).keys()
            await select(connected, "hungry", "4")
            assert await count(connected, 3) == numbers(3)
            models = held(server)
            assert "4" in models and sum(int(m) for m, b in models.items() if b == "hungry") <= 8

    run(scenario())


def test_what_fits_nowhere_is_said_and_unloads_nothing(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "hungry", "2")
            before = held(server)
            answer = await connected.ask("select_model", {"model_name": "9"}, reply="select_model")
            assert not answer["success"] and "it needs 9 of 8" in answer["error"]
            assert held(server) == before
            assert await count(connected, 3) == numbers(3)

    run(scenario())


def test_busy_models_that_do_not_fit_together_take_turns(server: Home) -> None:
    """Each answer is longer than a slice, and none is disturbed by a load."""
    long = 300

    async def one(model: str) -> None:
        async with client(server) as connected:
            await select(connected, "hungry", model)
            for _ in range(2):
                assert await count(connected, long) == numbers(long)

    async def scenario() -> None:
        await asyncio.gather(*map(one, ("2", "3", "4")))

    run(scenario())
