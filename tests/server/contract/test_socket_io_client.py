"""The JavaScript client socket.io-client gets the same events as the Python client."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import PATIENCE, ROOT, Event, Home, chunks, client, home, names, run
from tests.support.node_client import required_node_modules

SCRIPT = Path(__file__).parent / "client.cjs"
PROMPT = "Il était une fois 🦉"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    required_node_modules()  # skips before a server is started
    with home(
        tmp_path_factory.mktemp("node"), binding_name="echo", model_name="lorem",
        bindings_path=str(ROOT / "bindings"),
    ) as opened:  # fmt: skip
        opened.gateway()
        for _ in range(3):  # one for each model
            opened.worker("echo")
        opened.ready()
        yield opened


def through_node(server: Home, *transports: str) -> dict[str, Any]:
    done = subprocess.run(
        ["node", str(SCRIPT), server.url, ",".join(transports)],
        env={**os.environ, "NODE_PATH": str(required_node_modules())},
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def events_of(result: dict[str, Any], what: str) -> list[Event]:
    return [(name, data) for name, data in result[what]]


@pytest.mark.timeout(400)  # the very first run installs the client
@pytest.mark.parametrize(
    "transports", [("polling",), ("websocket",), ("polling", "websocket")], ids="-then-".join
)
def test_a_javascript_client_selects_lists_generates_and_cancels(
    server: Home, transports: tuple[str, ...]
) -> None:
    async def through_python() -> tuple[Any, Any, str]:
        async with client(server, transports=list(transports)) as connected:
            for event, data in (
                ("select_binding", {"binding_name": "echo"}),
                ("select_model", {"model_name": "lorem"}),
            ):
                assert (await connected.ask(event, data, reply=event))["success"]
            models = await connected.ask("list_available_models", reply="available_models_list")
            zoo = await connected.ask("list_available_personalities", reply="personalities_list")
            events = await connected.generate(PROMPT, n_predicts=200, parameters={"seed": 7})
            return models, zoo, events[-1][1]["text"]

    result = through_node(server, *transports)
    models, zoo, text = run(through_python())

    assert result["transport"] == transports[-1]
    assert result["binding"] == {"success": True, "binding_name": "echo"}
    assert result["model"] == {"success": True, "model_name": "lorem"}
    assert result["models"] == models and result["personalities"] == zoo
    assert result["acknowledged"] is True

    generation = events_of(result, "generation")
    assert set(names(generation[:-1])) == {"text_chunk"}
    assert generation[-1][0] == "text_generated"
    assert generation[-1][1]["text"] == chunks(generation) == text
    assert len(text.split()) == 200
    assert chunks(events_of(result, "echo")) == PROMPT

    cancelled = events_of(result, "cancelled")
    told = [name for name in names(cancelled) if name != "text_chunk"]
    assert told == ["generation_canceled", "text_generated"]
    assert cancelled[-1][1]["text"] == chunks(cancelled)
    assert 0 < len(chunks(cancelled).split()) < 5000
