"""Long answers take turns with others for slots and for workers, in the same text."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.contract.test_backpressure import expected, metric, wanted
from tests.server.contract.test_generation import ends_once
from tests.support.harness import Client, Home, chunks, client, home, run

SLICE = 0.1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    """One worker for all models of `echo`, one with a single slot, one that thinks first."""
    with home(
        tmp_path_factory.mktemp("home"), bindings_path=str(bindings), binding_name="echo",
        model_name="lorem-10ms", slice=str(SLICE), drain_limit="1",
    ) as opened:  # fmt: skip
        opened.gateway()
        opened.worker("echo")
        opened.worker("narrow")
        opened.worker("faulty")
        opened.ready()
        yield opened


async def select(connected: Client, binding: str, model: str) -> None:
    for event, name in (("select_binding", binding), ("select_model", model)):
        key = event.removeprefix("select_") + "_name"
        answer = await connected.ask(event, {key: name}, reply=event)
        assert answer["success"], answer


def test_a_long_answer_and_short_ones_of_another_model_both_progress(server: Home) -> None:
    long = 600

    async def scenario() -> None:
        async with client(server) as one, client(server) as other:
            await select(one, "echo", "lorem-10ms")
            await one.emit("generate_text", {"prompt": "x", **wanted(long)})
            await one.next("text_chunk")
            served = 0
            while not any(name == "text_generated" for name, _ in one.events):
                await select(other, "echo", "lorem")
                events = await other.generate("x", **wanted(20, seed=served))
                assert ends_once(events)["text"] == expected(20, seed=served)
                served += 1
            assert served > 2
            assert chunks(one.events) == expected(long)
            assert metric(server, "generations_parked_total") > 1

    run(scenario())


def test_log_probabilities_keep_nobody_from_a_slot_or_from_another_model(server: Home) -> None:
    """Else one endless answer that asks for them would stop everybody else."""
    endless = {"n_predicts": 1_000_000, "parameters": {"logprobs": 1}}

    async def scenario() -> None:
        async with client(server) as one, client(server) as two, client(server) as other:
            await select(one, "narrow", "lorem-2ms")
            await select(two, "echo", "lorem-10ms")
            for each in (one, two):
                await each.emit("generate_text", {"prompt": "x", **endless})
                await each.next("text_chunk")
            for binding, model in (("narrow", "lorem-2ms"), ("echo", "lorem")):
                await select(other, binding, model)
                events = await other.generate("x", **wanted(20, seed=3))
                assert ends_once(events)["text"] == expected(20, seed=3)

    run(scenario())


def test_in_one_slot_answers_of_all_take_turns_and_are_whole(server: Home) -> None:
    """Each is parked at many different places."""
    before = metric(server, "generations_parked_total")

    async def one(seed: int, tokens: int) -> None:
        async with client(server) as connected:
            await select(connected, "narrow", "lorem-2ms")
            events = await connected.generate("x", **wanted(tokens, seed=seed))
            assert ends_once(events)["text"] == chunks(events) == expected(tokens, seed=seed)

    async def scenario() -> None:
        await asyncio.gather(*(one(seed, 200 + 31 * seed) for seed in range(8)))

    run(scenario())
    assert metric(server, "generations_parked_total") - before >= 8


def test_who_needs_longer_than_a_slice_to_begin_gets_a_word_in_each_turn(server: Home) -> None:
    """Else many of these would take turns for ever, and none would ever end."""
    many = 9  # for eight slots

    async def one() -> None:
        async with client(server) as connected:
            await select(connected, "faulty", "any")
            events = await connected.generate("think@0 1")
            assert ends_once(events)["tokens"] == 100

    async def scenario() -> None:
        await asyncio.gather(*(one() for _ in range(many)))

    run(scenario())
