"""Same behaviour over long-polling, websocket and an upgrade; clients that come and go."""

import asyncio
from typing import Any

import pytest

from tests.server.contract.test_generation import CANCELED, ends_once, select
from tests.support.harness import Event, Home, chunks, client, names, run

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


async def everything(server: Home, transports: list[str]) -> dict[str, Any]:
    async with client(server, transports=transports) as connected:
        assert connected.sio.transport() == transports[-1]
        await select(connected, "echo", "lorem")
        listed = await connected.ask("list_available_models", reply="available_models_list")
        zoo = await connected.ask("list_available_personalities", reply="personalities_list")
        generated = await connected.generate("x", n_predicts=300, parameters={"seed": 11})
        await select(connected, "echo", "lorem-10ms")
        await connected.emit("generate_text", {"prompt": "x", "n_predicts": 5000})
        first = await connected.next("text_chunk")
        await connected.emit("cancel_generation")
        cancelled = [first, *await connected.until("text_generated"), *await connected.settle()]
        return {"listed": listed, "zoo": zoo, "generated": generated, "cancelled": cancelled}


@pytest.fixture(scope="module")
def over_websocket(server: Home) -> dict[str, Any]:
    return run(everything(server, ["websocket"]))  # type: ignore[no-any-return]


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-then-".join)
def test_select_list_generate_and_cancel(
    server: Home, transports: list[str], over_websocket: dict[str, Any]
) -> None:
    result = run(everything(server, transports))
    assert result["listed"]["success"] and result["listed"] == over_websocket["listed"]
    assert result["zoo"]["success"] and result["zoo"] == over_websocket["zoo"]

    end = ends_once(result["generated"])
    assert end["text"] == chunks(result["generated"]) and end["tokens"] == 300
    assert end["text"] == ends_once(over_websocket["generated"])["text"]

    cancelled: list[Event] = result["cancelled"]
    told = [name for name in names(cancelled) if name != "text_chunk"]
    assert told == ["generation_canceled", "text_generated"]
    assert cancelled[-2][1] == {**CANCELED, "id": cancelled[0][1]["id"]}
    assert cancelled[-1][1]["text"] == chunks(cancelled)


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-then-".join)
def test_a_connection_for_every_prompt_is_served_by_the_saved_selection(
    server: Home, transports: list[str]
) -> None:
    async def scenario() -> list[str]:
        async with client(server) as chooses:
            await select(chooses, "echo", "lorem")
        texts = []
        for _ in range(12):
            async with client(server, transports=transports) as connected:
                events = await connected.generate("x", n_predicts=20, parameters={"seed": 5})
                texts.append(ends_once(events)["text"])
        return texts

    texts = run(scenario())
    assert len(set(texts)) == 1 and len(texts[0].split()) == 20


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-then-".join)
def test_a_flood_arrives_whole(server: Home, transports: list[str]) -> None:
    async def scenario() -> list[Event]:
        async with client(server, transports=transports) as connected:
            await select(connected, "echo", "lorem")
            events = await connected.generate("x", n_predicts=3000, parameters={"seed": 3})
            return events + await connected.settle()

    end = ends_once(events := run(scenario()))
    assert end["text"] == chunks(events)
    assert end["tokens"] == len(end["text"].split()) == 3000


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-then-".join)
def test_a_client_that_goes_frees_its_slot(server: Home, transports: list[str]) -> None:
    """The binding has one worker with one slot, which the generation would hold for 100 s."""

    async def scenario() -> Any:
        async with client(server, transports=transports) as goes:
            await select(goes, "single", "one")
            await goes.emit("generate_text", {"prompt": "x", "n_predicts": 10_000})
            await goes.next("text_chunk")
        async with client(server, transports=transports) as comes:
            await select(comes, "single", "one")
            return ends_once(await comes.generate("x", n_predicts=3))

    assert run(scenario())["text"] == "one0 one1 one2 "


def test_a_client_that_goes_while_it_waits_leaves_the_queue(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as runs, client(server) as waits:
            for connected in (runs, waits):
                await select(connected, "single", "one")
            await runs.emit("generate_text", {"prompt": "x", "n_predicts": 10_000})
            await runs.next("text_chunk")
            await waits.emit("generate_text", {"prompt": "x", "n_predicts": 10_000})
            await waits.settle()
            await waits.sio.disconnect()
            await runs.emit("cancel_generation")
            await runs.until("text_generated")
            return ends_once(await runs.generate("x", n_predicts=2))

    assert run(scenario())["tokens"] == 2


def test_sixty_clients_that_vanish_in_the_middle_leave_no_work(server: Home) -> None:
    async def vanish(transports: list[str]) -> None:
        async with client(server, transports=transports) as connected:
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 100_000})
            await connected.next("text_chunk")

    async def scenario() -> Any:
        async with client(server) as stays:
            await select(stays, "echo", "lorem-10ms")
            for _ in range(10):
                await asyncio.gather(*(vanish(TRANSPORTS[n % 3]) for n in range(6)))
            return ends_once(await stays.generate("x", n_predicts=10))

    assert run(scenario())["tokens"] == 10
