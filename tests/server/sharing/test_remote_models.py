"""Workers of other machines: they share the load, bring models, and are waited for."""

import asyncio
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_backpressure import expected, metric, prompt
from tests.server.contract.test_generation import ends_once, select
from tests.server.security.test_access import ECHO
from tests.server.security.test_remote_workers import Inviting
from tests.server.sharing.test_replicas import CLIENTS, running, until_hold
from tests.support.closed_loop import closed_loop, until_begun
from tests.support.harness import ROOT, Client, Event, chunks, client, home, run, until

PACED = {**ECHO, "model_name": "lorem-10ms", "max_queue": "200", "drain_limit": "1"}
WORDS = 200


@pytest.fixture
def inviting(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Inviting]:
    """A gateway with these settings, and no worker."""
    settings = getattr(request, "param", {})
    with home(tmp_path / "home", **{**PACED, **settings}) as server:
        yield Inviting(server)


def test_two_guests_share_the_load_of_one_model(inviting: Inviting, tmp_path: Path) -> None:
    """Nothing says that there should be two: the idle worker of a joined machine takes it."""
    server = inviting.server

    async def scenario() -> None:
        async with closed_loop(server, CLIENTS, prompt(20)) as tally:
            await until_begun(tally)
            inviting.worker(tmp_path / "second")
            await asyncio.to_thread(until_hold, server, 2)
            await asyncio.sleep(1)  # until the answers of before have ended
            shares: Counter[str] = Counter()
            for _ in range(10):
                shares.update(await asyncio.to_thread(running, server))
                await asyncio.sleep(0.05)
        assert tally.refused == 0
        largest = max(shares.values()) / shares.total()
        print(f"\n{largest:.2f} of the load in one of two guests")
        assert len(shares) == 2 and largest <= 0.6

    inviting.worker(tmp_path / "first")
    server.ready()
    run(scenario())


@pytest.mark.parametrize("inviting", [{"binding_name": "llama_cpp", "model_name": "none"}],
                         indirect=True)  # fmt: skip
def test_a_model_that_only_a_guest_has_is_listed_selected_and_used(
    inviting: Inviting, tmp_path: Path
) -> None:
    pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")
    models = tmp_path / "guest" / "models" / "llama_cpp"
    models.mkdir(parents=True)
    shipped = ROOT / "bindings" / "llama_cpp" / "models" / "pebble-f16.gguf"
    shutil.copy(shipped, models / "theirs.gguf")
    server = inviting.server

    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "llama_cpp", "theirs.gguf")
            answer = await connected.ask("list_available_models", reply="available_models_list")
            found = {each["title"]: each for each in answer["available_models"]}
            assert len(found["theirs.gguf"]["on"]) == 1
            assert found["theirs.gguf"]["filesize"] == shipped.stat().st_size
            assert "on" not in found["pebble-f16.gguf"]
            parameters = {"temperature": 0, "ignore_eos": True}
            events = await connected.generate("Once", n_predicts=20, parameters=parameters)
            assert ends_once(events)["tokens"] == 20

    inviting.worker(tmp_path / "guest", binding="llama_cpp")
    until(lambda: metric(server, "workers_up"), "the guest")
    run(scenario())


async def begun_in(guest: subprocess.Popen[bytes], connected: Client) -> list[Event]:
    """The events of an answer whose worker was killed after the first words."""
    await connected.emit("generate_text", prompt(WORDS, seed=4))
    events = await connected.until("text_chunk")
    guest.kill()
    return events


def test_an_answer_whose_only_guest_has_died_goes_on_in_the_next_one(
    inviting: Inviting, tmp_path: Path
) -> None:
    server = inviting.server
    guest = inviting.worker(tmp_path / "first")
    server.ready()

    async def scenario() -> None:
        async with client(server) as connected:
            events = await begun_in(guest, connected)
            await asyncio.to_thread(until, lambda: not metric(server, "workers_up"), "the loss")
            inviting.worker(tmp_path / "second")
            events += await connected.until("text_generated", "generation_error")
            assert ends_once(events).get("text") == chunks(events) == expected(WORDS, seed=4)

    run(scenario())
    assert metric(server, "generations_continued_total") == 1


@pytest.mark.parametrize("inviting", [{"rejoin_limit": "0"}], indirect=True)
def test_without_a_rejoin_limit_it_ends_with_the_loss(inviting: Inviting, tmp_path: Path) -> None:
    server = inviting.server
    guest = inviting.worker(tmp_path / "first")
    server.ready()

    async def scenario() -> None:
        async with client(server) as connected:
            events = await begun_in(guest, connected)
            await asyncio.to_thread(until, lambda: not metric(server, "workers_up"), "the loss")
            lost = time.monotonic()
            events += await connected.until("text_generated", "generation_error")
            end: Any = ends_once(events)
            assert events[-1][0] == "generation_error" and end["code"] == "worker_lost", end
            assert time.monotonic() - lost < 5

    run(scenario())
