"""Who asked for it is told what it waits for; all others get the events of 2023 only."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_backpressure import expected, wanted
from tests.server.contract.test_generation import ends_once
from tests.server.sharing.test_turns import select
from tests.support.harness import Client, Home, chunks, client, home, names, run

NOTICES = {
    "queue", "model_status", "prompt_progress", "generation_paused", "generation_continued",
}  # fmt: skip
EVENTS = {"auth": {"events": True}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    """Workers with one slot, and with Pebble."""
    with home(
        tmp_path_factory.mktemp("home"), bindings_path=str(bindings), binding_name="narrow",
        model_name="lorem-2ms", slice="0.5", drain_limit="1",
    ) as opened:  # fmt: skip
        opened.gateway()
        for binding in ("narrow", "single"):
            opened.worker(binding)
        opened.ready()
        yield opened


def told(connected: Client, name: str) -> list[Any]:
    return [data for event, data in connected.events if event == name]


def test_the_place_in_the_queue_and_the_turns_are_told(server: Home) -> None:
    async def scenario() -> None:
        async with client(server, **EVENTS) as first, client(server, **EVENTS) as second:
            for connected, seed in ((first, 1), (second, 2)):
                await connected.emit("generate_text", {"prompt": "x", **wanted(900, seed=seed)})
                if seed == 1:
                    await connected.next("text_chunk")
            for connected, seed in ((first, 1), (second, 2)):
                await connected.until("text_generated")
                assert chunks(connected.events) == expected(900, seed=seed)
                ends_once([each for each in connected.events if each[0] not in NOTICES])
            places = told(second, "queue")
            assert places[0]["position"] == 1 and places[0]["why"] == "all slots are in use"
            assert places[0]["waiting"] == 1
            paused, continued = (
                told(first, "generation_paused"),
                told(first, "generation_continued"),
            )
            assert len(paused) == len(continued) >= 1
            assert paused[0]["why"] == "others have their turn"
            assert paused[0]["id"] == told(first, "text_generated")[0]["id"]

    run(scenario())


def test_a_client_that_did_not_ask_hears_nothing_of_it(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as first, client(server) as second:
            both = [
                one.generate("x", **wanted(700, seed=n)) for n, one in ((1, first), (2, second))
            ]
            for events in await asyncio.gather(*both):
                ends_once(events)
            for connected in (first, second):
                assert not NOTICES & set(names(connected.events))

    run(scenario())


def test_a_load_is_told_to_who_selects(server: Home) -> None:
    async def scenario() -> None:
        async with client(server, **EVENTS) as connected:
            await select(connected, "single", "one")
            states = [each["state"] for each in told(connected, "model_status")]
            assert states[0] == "loading" and states[-1] == "loaded"
            answer = await connected.ask(
                "select_model", {"model_name": "broken"}, reply="select_model"
            )
            assert not answer["success"]
            last = told(connected, "model_status")[-1]
            assert last["state"] == "failed" and "byte 17" in last["error"]
            assert (last["binding"], last["model"]) == ("single", "broken")

    run(scenario())
