"""After the death of its worker, a generation continues with the same text, without a gap."""

import asyncio
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once
from tests.support.harness import ROOT, Event, Home, chunks, client, home, run

pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")

PATIENT = ROOT / "tests" / "support" / "llama_bindings" / "patient"
MODEL = "pebble-f16.gguf"
LENGTH = 60
PROMPT = "Please tell me a story about a tent."
SLOTS = 16
GREEDY = {"temperature": 0, "repeat_penalty": 1, "ignore_eos": True}
SAMPLED = {"temperature": 0.9, "seed": 7, "ignore_eos": True}
UNSEEDED = {"temperature": 0.9, "ignore_eos": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    bindings = tmp_path_factory.mktemp("bindings")
    for source in (ROOT / "bindings" / "llama_cpp", PATIENT):
        shutil.copytree(source, bindings / source.name)
    (bindings / "patient" / "models").mkdir()
    shutil.copy(bindings / "llama_cpp" / "models" / MODEL, bindings / "patient" / "models")
    folder = tmp_path_factory.mktemp("home")
    (folder / "config.yaml").write_text(f"bindings: {{patient: {{parallel: {SLOTS}}}}}")
    with home(
        folder, bindings_path=str(bindings), binding_name="patient", model_name=MODEL
    ) as opened:
        opened.launch()
        yield opened


def waiting(parameters: dict[str, Any], tokens: int) -> dict[str, Any]:
    """Parameters that make the binding pause after so many tokens, and change nothing else."""
    return {**parameters, "dry_allowed_length": 100 + tokens}


async def undisturbed(server: Home, parameters: dict[str, Any], length: int = LENGTH) -> str:
    async with client(server) as connected:
        events = await connected.generate(PROMPT, n_predicts=length, parameters=parameters)
        end = ends_once(events)
        assert end["tokens"] == length, end
        return str(end["text"])


async def disturbed(
    server: Home, asked: list[tuple[dict[str, Any], int]], enough: int = 0
) -> list[tuple[str, list[Event]]]:
    """Pause each generation after its number of tokens, then kill the worker of all.

    Return what each client had received at that moment, and all of its events. `enough` is the
    number of characters to wait for; 0 means all that the tokens make.
    """
    [worker] = server.worker_pids()
    arrived = asyncio.Barrier(len(asked) + 1)

    async def one(parameters: dict[str, Any], tokens: int) -> tuple[str, list[Event]]:
        shown = enough or len((await undisturbed(server, parameters, tokens)).rstrip("\ufffd"))
        async with client(server) as connected:
            data = {"prompt": PROMPT, "n_predicts": LENGTH}
            await connected.emit(
                "generate_text", {**data, "parameters": waiting(parameters, tokens)}
            )
            events: list[Event] = []
            while len(chunks(events)) < shown:
                events.append(await connected.next("text_chunk"))
            had = chunks(events)
            await arrived.wait()
            events += await connected.until("text_generated", "generation_error")
            return had, events + await connected.settle()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(*each)) for each in asked]
        await arrived.wait()
        server.kill(worker, signal.SIGKILL)
    return [task.result() for task in tasks]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("parameters", [GREEDY, SAMPLED], ids=["greedy", "seeded"])
def test_the_text_is_the_same_wherever_the_worker_was_killed(
    server: Home, parameters: dict[str, Any]
) -> None:
    async def scenario() -> None:
        expected = await undisturbed(server, parameters)
        for first in range(1, 51, SLOTS):
            some = range(first, min(first + SLOTS, 51))
            results = await disturbed(server, [(parameters, tokens) for tokens in some])
            for tokens, (had, events) in zip(some, results, strict=True):
                end = ends_once(events)
                assert end.get("text") == chunks(events) == expected, (tokens, end)
                assert expected.startswith(had) and len(had) < len(expected), tokens
                assert end["tokens"] == LENGTH

    run(scenario(), 170)


def test_an_answer_that_nobody_seeded_goes_on_as_well(server: Home) -> None:
    async def scenario() -> None:
        for had, events in await disturbed(server, [(UNSEEDED, n) for n in (5, 20)], enough=1):
            end = ends_once(events)
            assert end["text"] == chunks(events) and end["tokens"] == LENGTH
            assert end["text"].startswith(had) and len(end["text"]) > len(had)

    run(scenario())


def test_what_is_half_met_when_the_worker_dies_is_met_behind_it(server: Home) -> None:
    """The states of stop strings and of a grammar are rebuilt from the tokens."""

    async def scenario() -> None:
        text = await undisturbed(server, GREEDY)
        before = len(await undisturbed(server, GREEDY, 16))
        stop = text[before : before + 30]
        assert text.index(stop) == before, "the model repeats itself: another prompt is needed"
        asked = [({**GREEDY, "stop": [stop]}, tokens) for tokens in range(16, 32)]
        for _, events in await disturbed(server, asked, enough=before // 2):
            end = ends_once(events)
            assert end["text"] == chunks(events) == text.partition(stop)[0]
            assert end["reason"] == "stop"
        grammar = {**SAMPLED, "grammar": 'root ::= ("one" | "two" | "three" | " and ")+'}
        words = await undisturbed(server, grammar)
        for _, events in await disturbed(server, [(grammar, n) for n in range(1, 17)]):
            assert ends_once(events)["text"] == chunks(events) == words

    run(scenario())


def test_log_probabilities_of_a_dead_worker_cannot_be_told_and_that_is_an_error(
    server: Home,
) -> None:
    async def scenario() -> None:
        [(had, events)] = await disturbed(server, [({**GREEDY, "logprobs": 2}, 5)])
        end = ends_once(events)
        assert events[-1][0] == "generation_error" and had == chunks(events)
        assert end["code"] == "worker_lost" and end["tokens"] == 5
        assert "patient was killed by SIGKILL" in end["error"]
        assert "5 tokens of the answer had come" in end["error"]

    run(scenario())
