"""A failed start or load is reported at once, and retried when a client selects it again."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import ROOT, Client, Home, client, home, run, until

DYING = "import os, sys\nprint('no engine on board', file=sys.stderr, flush=True)\nos._exit(3)\n"
LAZY = """
import time
from worker.binding import Binding, Model, Piece

class Lazy(Binding):
    def load(self, model: Model) -> None:
        if model.name == "hung":
            time.sleep(3600)
        for _ in range(50):
            time.sleep(0.1)
            model.progress()

    def generate(self, request):
        yield Piece("done")

binding = Lazy
"""
WHY = "its worker ended with exit code 3 (its last words: no engine on board)"


@contextmanager
def serving(folder: Path, bindings: Path, **selected: str) -> Iterator[Home]:
    """A server whose default model cannot serve."""
    with home(folder, bindings_path=str(bindings), **selected) as server:
        launcher = server.start_plain("gateway.launch")
        until(lambda: launcher.poll() is not None or server.http("/health")[0] == 200, "the start")
        yield server


def reason(server: Home) -> str:
    return str(json.loads(server.http("/ready")[1])["reason"])


async def refused(connected: Client) -> tuple[float, str]:
    """Seconds until the refusal, and its reason."""
    began = time.perf_counter()
    end = ends_once(await connected.generate("x"))
    return time.perf_counter() - began, str(end["error"])


@pytest.fixture
def dying(tmp_path: Path) -> Path:
    """The echo binding, and one whose worker exits before it sends Hello."""
    shutil.copytree(ROOT / "bindings" / "echo", tmp_path / "bindings" / "echo")
    shutil.copytree(ROOT / "bindings" / "echo", tmp_path / "bindings" / "dying")
    (tmp_path / "bindings" / "dying" / "__init__.py").write_text(DYING)
    return tmp_path / "bindings"


def test_a_binding_that_dies_at_once_is_told_at_once_until_it_is_mended(
    tmp_path: Path, dying: Path
) -> None:
    with serving(tmp_path, dying, binding_name="dying", model_name="lorem") as server:
        until(lambda: WHY in reason(server), "the reason at /ready")
        assert server.http("/ready")[0] == 503

        async def scenario() -> None:
            async with client(server) as connected, client(server) as other:
                tries = [await refused(connected) for _ in range(20)]
                times = sorted(took for took, _ in tries)
                print(f"told after {times[10] * 1000:.1f} ms, at most {times[-1] * 1000:.1f} ms")
                assert times[10] < 0.25
                assert all(WHY in why and "the next try is in" in why for _, why in tries), tries
                await select(other, "echo", "lorem")
                assert ends_once(await other.generate("x", n_predicts=3))["tokens"] == 3
                # A selection tries the start again, and reports why it failed.
                answer = await ask_for(connected, "dying")
                assert answer["success"] is False and WHY in answer["error"]
                shutil.copy(dying / "echo" / "__init__.py", dying / "dying" / "__init__.py")
                answer = await ask_for(connected, "dying")
                assert answer["success"] is True, answer
                answer = await connected.ask(
                    "select_model", {"model_name": "lorem"}, reply="select_model"
                )
                assert answer["success"] is True, answer
                assert ends_once(await connected.generate("x", n_predicts=3))["tokens"] == 3

        run(scenario())


async def ask_for(connected: Client, binding: str) -> Any:
    return await connected.ask("select_binding", {"binding_name": binding}, reply="select_binding")


def test_a_model_that_does_not_load_is_told_at_ready_and_logged_once(
    tmp_path: Path, bindings: Path
) -> None:
    with serving(tmp_path, bindings, binding_name="single", model_name="broken") as server:
        until(lambda: "byte 17" in reason(server), "the reason at /ready")

        async def scenario() -> None:
            async with client(server) as connected:
                for _ in range(3):
                    assert "byte 17" in (await refused(connected))[1]
                await asyncio.sleep(3)  # long enough for the gateway to retry the load by itself
                await select(connected, "single", "one")
                assert ends_once(await connected.generate("x", n_predicts=3))["tokens"] == 3

        run(scenario())
        assert server.log("gateway").count("could not load broken") == 1
        server.ready()


def test_a_model_that_kills_its_worker_does_so_twice_and_is_then_left_alone(
    tmp_path: Path, bindings: Path
) -> None:
    with serving(tmp_path, bindings, binding_name="stubborn", model_name="deadly") as server:

        def deaths() -> int:
            return server.log("gateway").count("loads deadly")

        until(lambda: deaths() == 2 and "SIGABRT" in reason(server), "the second death")
        until(lambda: server.worker_pids(), "the worker after it")

        async def scenario() -> None:
            async with client(server) as connected:
                took, why = await refused(connected)
                assert "SIGABRT" in why and "the next try is in" in why and took < 1.0
                await select(connected, "stubborn", "any")
                assert ends_once(await connected.generate("fine"))["tokens"] == 3

        run(scenario())


def test_a_load_without_progress_is_ended_and_a_slow_one_is_not(tmp_path: Path) -> None:
    lazy = tmp_path / "bindings" / "lazy"
    shutil.copytree(ROOT / "bindings" / "echo", lazy)
    (lazy / "__init__.py").write_text(LAZY)
    names = "- {filename: hung, model_type: api}\n- {filename: slow, model_type: api}\n"
    (lazy / "models.yaml").write_text(names)
    with serving(
        tmp_path, lazy.parent, binding_name="lazy", model_name="", load_limit="3"
    ) as server:

        async def scenario() -> None:
            async with client(server) as connected:
                answer = await connected.ask(
                    "select_model", {"model_name": "hung"}, reply="select_model"
                )
                assert answer["success"] is False
                assert "lazy made no progress for" in answer["error"], answer
                await select(connected, "lazy", "slow")
                assert ends_once(await connected.generate("x"))["text"] == "done"

        run(scenario())
