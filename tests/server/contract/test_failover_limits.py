"""Failover of a generation: to another worker, once, and not where it is turned off."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import Client, Event, Home, chunks, client, home, run, until

PACED = {"binding_name": "echo", "model_name": "lorem-10ms"}
ASKED = {"prompt": "x", "n_predicts": 100, "parameters": {"seed": 5}}


async def begun(connected: Client, prompt: str = "x") -> list[Event]:
    await connected.emit("generate_text", {**ASKED, "prompt": prompt})
    return [await connected.next("text_chunk")]


async def rest(connected: Client) -> list[Event]:
    return await connected.until("text_generated", "generation_error") + await connected.settle()


@pytest.fixture
def alone(tmp_path: Path, bindings: Path) -> Iterator[Home]:
    """A gateway without supervisor."""
    with home(tmp_path, bindings_path=str(bindings), **PACED) as opened:
        yield opened


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("supervised")
    with home(folder, bindings_path=str(bindings), **PACED) as server:
        server.launch()
        yield server


def test_an_answer_goes_on_in_another_worker(alone: Home) -> None:
    alone.gateway()
    first = alone.worker("echo")
    alone.ready()
    alone.worker("echo")
    until(lambda: 'workers_up{binding="echo"} 2' in alone.http("/metrics")[1], "a second worker")

    async def scenario() -> tuple[list[Event], Any]:
        async with client(alone) as connected:
            events = await begun(connected)  # in the first worker: the second holds no model
            first.kill()
            events += await rest(connected)
            return events, ends_once(await connected.generate(**ASKED))

    events, undisturbed = run(scenario())
    assert ends_once(events)["text"] == chunks(events) == undisturbed["text"]
    assert ends_once(events)["tokens"] == 100
    assert "lollms_generations_continued_total 1.0" in alone.http("/metrics")[1]


def test_with_no_continue_a_death_ends_the_answer(alone: Home) -> None:
    alone.gateway("--no-continue")
    first = alone.worker("echo")
    alone.ready()

    async def scenario() -> list[Event]:
        async with client(alone) as connected:
            events = await begun(connected)
            first.kill()
            return events + await rest(connected)

    events = run(scenario())
    end = ends_once(events)
    assert events[-1][0] == "generation_error" and end["code"] == "worker_lost"
    assert end["tokens"] == len(chunks(events).split())
    assert "lollms_generations_continued_total 0.0" in alone.http("/metrics")[1]


def test_nobody_to_go_on_is_told_with_how_it_died(alone: Home) -> None:
    alone.gateway()
    first = alone.worker("echo")
    alone.ready()

    async def scenario() -> list[Event]:
        async with client(alone) as connected:
            events = await begun(connected)
            first.kill()
            return events + await rest(connected)

    error = ends_once(run(scenario()))["error"]
    assert "echo died" in error and "had come" in error
    assert "nobody could go on with it: no worker of the binding echo is running" in error


def test_a_second_death_ends_the_answer(supervised: Home) -> None:
    async def scenario() -> list[Event]:
        async with client(supervised) as connected:
            events = await begun(connected)
            [first] = supervised.worker_pids()
            supervised.kill(first, signal.SIGKILL)
            await asyncio.to_thread(
                until, lambda: set(supervised.worker_pids()) - {first}, "the restart"
            )
            have = len(connected.events)
            while len(events) < have + 3:  # the last ones come from the restarted worker
                events.append(await connected.next("text_chunk"))
            supervised.kill(*supervised.worker_pids(), signal.SIGKILL)
            return events + await rest(connected)

    events = run(scenario())
    error = ends_once(events)["error"]
    assert events[-1][0] == "generation_error"
    assert "echo was killed by SIGKILL" in error, error
    assert f"{ends_once(events)['tokens']} tokens of the answer had come" in error
    assert len(chunks(events).split()) == ends_once(events)["tokens"]


def test_all_answers_of_a_worker_go_on_though_they_are_more_than_may_wait(
    supervised: Home,
) -> None:
    """The limit of the queue does not apply to generations that were admitted before."""

    async def scenario() -> None:
        clients = [client(supervised) for _ in range(24)]
        connected = [await each.__aenter__() for each in clients]
        try:
            events = [await begun(each, "y") for each in connected]
            supervised.kill(*supervised.worker_pids(), signal.SIGKILL)
            for each, had in zip(connected, events, strict=True):
                had += await rest(each)
                assert ends_once(had)["text"] == chunks(had)
                assert ends_once(had)["tokens"] == 100
            assert len({ends_once(had)["text"] for had in events}) == 1
        finally:
            for opened in clients:
                await opened.__aexit__(None, None, None)

    run(scenario())


@pytest.mark.parametrize(
    ("number", "logged"),
    [(signal.SIGSTOP, "was frozen and was ended"), (signal.SIGTERM, "was stopped")],
    ids=["frozen", "stopped"],
)
def test_whatever_ends_a_worker_its_answer_goes_on(
    supervised: Home, number: int, logged: str
) -> None:
    async def scenario() -> tuple[list[Event], Any, float]:
        async with client(supervised) as connected:
            prompt = f"signal {number}"
            undisturbed = ends_once(await connected.generate(**{**ASKED, "prompt": prompt}))
            events = await begun(connected, prompt)
            began = time.perf_counter()
            supervised.kill(*supervised.worker_pids(), number)
            return events + await rest(connected), undisturbed, time.perf_counter() - began

    events, undisturbed, took = run(scenario())
    end = ends_once(events)
    print(f"ended {took:.2f} s after the signal")
    assert end.get("text") == chunks(events) == undisturbed["text"], end
    assert logged in supervised.log("gateway")
    supervised.ready()


def test_what_cannot_be_resumed_ends_with_its_tokens(tmp_path: Path, bindings: Path) -> None:
    with home(
        tmp_path, bindings_path=str(bindings), binding_name="stubborn", model_name="any"
    ) as server:
        server.launch()

        async def scenario() -> list[Event]:
            async with client(server) as connected:
                await select(connected, "stubborn", "any")
                await connected.emit("generate_text", {"prompt": "slow", "n_predicts": 500})
                events = [await connected.next("text_chunk")]
                server.kill(server.supervised_pids()["stubborn_00"], signal.SIGKILL)
                return events + await rest(connected)

        events = run(scenario())
        end = ends_once(events)
        assert "stubborn was killed by SIGKILL" in end["error"]
        assert f"; {end['tokens']} token" in end["error"]
        assert len(chunks(events).split()) == end["tokens"]
