"""Clients that stopped reading hold nobody up, and get their whole text when they read again."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.server.contract.test_backpressure import expected, metric, prompt
from tests.server.contract.test_generation import ends_once
from tests.server.sharing.conftest import stalled_clients
from tests.support.engineio_lines import stepped_client
from tests.support.harness import Home, chunks, client, home, run, until

SOON = 8.0
"""Seconds; without parking a newcomer waits until `client_limit`, a minute."""


@pytest.mark.parametrize("model", ["lorem", "lorem-10ms"])
@pytest.mark.parametrize("count", [1, 64])
@pytest.mark.parametrize("websocket", [True, False], ids=["websocket", "polling"])
def test_a_newcomer_is_served_at_once(
    server: Home, model: str, count: int, websocket: bool
) -> None:
    async def scenario() -> None:
        async with client(server) as newcomer:
            selected = await newcomer.ask(
                "select_model", {"model_name": "lorem"}, reply="select_model"
            )
            assert selected["success"]
            async with stalled_clients(server, count, websocket=websocket) as stalled:
                before = -1.0
                if count > 1 and websocket:  # one is waited for until its buffers are full
                    for each in stalled:
                        await each.read()
                else:
                    while before != (before := metric(server, "generated_tokens_total")):
                        await asyncio.sleep(0.3)
                began = time.monotonic()
                if model != "lorem":
                    selected = await newcomer.ask(
                        "select_model", {"model_name": model}, reply="select_model"
                    )
                    assert selected["success"]
                ends_once(await newcomer.generate("x", n_predicts=3))
                assert time.monotonic() - began < SOON

    run(scenario())


def test_text_that_only_lies_in_buffers_is_not_read(server: Home) -> None:
    """Of slow answers much fits into the kernel's: nothing but the client itself can tell."""

    async def scenario() -> None:
        async with client(server) as newcomer:
            await newcomer.ask("select_model", {"model_name": "lorem-10ms"}, reply="select_model")
            async with stalled_clients(server, 64, websocket=True) as stalled:
                for each in stalled:
                    await each.read()  # its first chunk: all slots are taken
                before = metric(server, "generations_parked_total")
                began = time.monotonic()
                ends_once(await newcomer.generate("x", n_predicts=3))
                assert time.monotonic() - began < SOON
                assert metric(server, "generations_parked_total") > before
                for _ in range(200):
                    await stalled[0].read()  # who reads is not taken for one that does not
                events = await newcomer.generate("x", n_predicts=3)
                ends_once(events)

    run(scenario())


def test_who_reads_again_gets_the_rest_of_the_same_text(server: Home) -> None:
    many = 100_000

    async def scenario() -> None:
        async with client(server) as other, stepped_client(server, websocket=True) as slow:
            await other.ask("select_model", {"model_name": "lorem"}, reply="select_model")
            await slow.emit("generate_text", prompt(many))
            before = metric(server, "generations_parked_total")
            for _ in range(3):
                sent = -1.0
                while sent != (sent := metric(server, "generated_tokens_total")):
                    await asyncio.sleep(0.3)
                for model in ("lorem-10ms", "lorem"):
                    answer = await other.ask(
                        "select_model", {"model_name": model}, reply="select_model"
                    )
                    assert answer["success"], answer
                    ends_once(await other.generate("x", n_predicts=3))
                for _ in range(2000):
                    await slow.read()
            assert metric(server, "generations_parked_total") - before >= 1
            events = await slow.until("text_generated")
            assert ends_once(events)["text"] == chunks(events) == expected(many)

    run(scenario())


def test_who_never_reads_again_is_dropped(tmp_path: Path, bindings: Path) -> None:
    """Also where all its text lies in the kernel's buffers, and only the client can tell."""

    async def scenario() -> None:
        async with (
            client(server) as newcomer,
            stalled_clients(server, 64, websocket=True) as stalled,
        ):
            for each in stalled:
                await each.read()
            ends_once(await newcomer.generate("x", n_predicts=3))
            before = metric(server, "generations_parked_total")
            assert before
            await asyncio.to_thread(
                until, lambda: metric(server, "clients_dropped_total") >= before, "the drop"
            )

    with home(
        tmp_path, bindings_path=str(bindings), binding_name="echo", model_name="lorem-10ms",
        client_limit="2", drain_limit="1",
    ) as server:  # fmt: skip
        server.gateway()
        server.worker("echo")
        server.ready()
        run(scenario())
