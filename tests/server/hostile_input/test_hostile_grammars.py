"""Does a grammar or a JSON schema cost anybody but its own request, whatever it is?"""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")

from tests.server.contract.test_generation import ends_once
from tests.support.cases import EXPENSIVE_GRAMMARS, HOSTILE_GRAMMARS, SENSIBLE_SCHEMA
from tests.support.harness import Client, Home, client, home, run

GAP = 1.0
"""Seconds that a bystander waits for a chunk, at most."""
STORY = {"temperature": 0.8, "seed": 1, "ignore_eos": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home(tmp_path_factory.mktemp("grammars")) as opened:
        opened.launch()
        yield opened


async def largest_gap(connected: Client, done: asyncio.Event) -> float:
    """Of one answer after the other, without the times between them."""
    largest = 0.0
    while not done.is_set():
        await connected.emit(
            "generate_text",
            {"prompt": "Once", "personality": -1, "n_predicts": 300, "parameters": STORY},
        )
        name, last = "", 0.0
        while name != "text_generated":
            name, data = await connected.next("text_chunk", "text_generated", "generation_error")
            assert name != "generation_error", data
            now = time.monotonic()
            largest, last = max(largest, now - last if last else 0), now
    return largest


async def answer(connected: Client, **sampling: Any) -> Any:
    events = await connected.generate(
        "Once", n_predicts=40, personality=-1, parameters={**STORY, **sampling}
    )
    return ends_once(events)


@pytest.mark.timeout(300)
def test_no_grammar_ends_or_stalls_a_worker(
    server: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of them comes three times, at once, while somebody listens to an answer."""
    wrong: list[tuple[str, Any]] = []

    async def scenario() -> float:
        done = asyncio.Event()
        async with client(server) as bystander, client(server) as first:
            await answer(first)  # the model is loaded
            workers = server.worker_pids()
            listening = asyncio.create_task(largest_gap(bystander, done))
            async with client(server) as second, client(server) as third:
                for what, sampling in {**HOSTILE_GRAMMARS, **EXPENSIVE_GRAMMARS}.items():
                    ends = await asyncio.gather(
                        *(answer(each, **sampling) for each in (first, second, third))
                    )
                    refused = [end.get("code") == "bad_request" for end in ends]
                    if not all(refused) if what in HOSTILE_GRAMMARS else any(refused):
                        wrong.append((what, ends[0]))
            done.set()
            gap = await listening
            assert server.worker_pids() == workers
            sensible = await answer(first, json_schema=json.dumps(SENSIBLE_SCHEMA))
            assert sensible["text"].startswith("{"), sensible
            return gap

    gap = run(scenario(), 280)
    with capsys.disabled():
        print(f"\nhostile grammars: largest gap of a bystander {gap:.3f} s")
    assert not wrong, wrong
    assert gap < GAP
    assert "was killed" not in server.log("gateway")
