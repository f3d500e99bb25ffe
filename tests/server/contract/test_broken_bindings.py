"""Selecting a binding whose worker dies at its start fails within seconds, with the reason."""

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import ROOT, Home, client, home, run

DYING = "import os, sys\nprint('no engine on board', file=sys.stderr, flush=True)\nos._exit(3)\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    bindings = tmp_path_factory.mktemp("bindings")
    shutil.copytree(ROOT / "bindings" / "echo", bindings / "echo")
    (bindings / "dying").mkdir()
    (bindings / "dying" / "binding_card.yaml").write_text("name: dying\n")
    (bindings / "dying" / "models.yaml").write_text("- {filename: any, model_type: api}\n")
    (bindings / "dying" / "__init__.py").write_text(DYING)
    with home(
        tmp_path_factory.mktemp("home"), bindings_path=str(bindings), binding_name="echo",
        model_name="echo",
    ) as opened:  # fmt: skip
        opened.launch()
        yield opened


def test_selecting_it_fails_with_the_reason_and_the_old_selection_serves(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "echo", "echo")
            for _ in range(3):
                began = time.monotonic()
                answer: Any = await connected.ask(
                    "select_binding", {"binding_name": "dying"}, reply="select_binding"
                )
                took = time.monotonic() - began
                print(f"told after {took:.2f} s: {answer['error']}")
                assert answer["success"] is False and took < 5
                assert "exit code 3 (its last words: no engine on board)" in answer["error"]
            assert ends_once(await connected.generate("still here"))["text"] == "still here"

    run(scenario())
