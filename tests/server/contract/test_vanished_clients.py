"""Half-open connections: a client that answers no ping is dropped and its slot freed."""

from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once
from tests.support.engineio_lines import SteppedClient, stepped_client
from tests.support.harness import client, home, run

SETTINGS = {
    "ping_interval": "1", "ping_timeout": "1", "binding_name": "single", "model_name": "one",
}  # fmt: skip
LONG = 10_000
"""Tokens. They occupy the only slot of the binding `single` for 100 seconds."""


@pytest.mark.parametrize("websocket", [True, False], ids=["websocket", "polling"])
def test_who_answers_no_ping_is_gone_and_frees_the_slot(
    tmp_path: Path, bindings: Path, websocket: bool
) -> None:
    """The client does not read either; to the gateway the connection looks half-open."""

    async def begun(silent: SteppedClient) -> None:
        await silent.emit("generate_text", {"prompt": "x", "n_predicts": LONG})
        await silent.until("text_chunk")

    with home(tmp_path, bindings_path=str(bindings), **SETTINGS) as server:
        server.gateway()
        server.worker("single")
        server.ready()

        async def scenario() -> Any:
            async with (
                stepped_client(server, websocket=websocket) as silent,
                client(server) as waits,
            ):
                await begun(silent)
                return ends_once(await waits.generate("x", n_predicts=3))

        assert run(scenario())["text"] == "one0 one1 one2 "
        assert "(ping timeout)" in server.log("gateway")
