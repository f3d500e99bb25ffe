"""Inference end to end: gateway, supervisor, llama.cpp and the embedded model."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.server.contract.test_generation import ends_once
from tests.support.harness import ROOT, Client, Event, Home, chunks, client, home, names, run

pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")

MODEL = "pebble-f16.gguf"
GREEDY = {"temperature": 0}
LONG = {"temperature": 0.8, "seed": 1, "ignore_eos": True}
"""Generates until the limit of tokens."""
PERSONALITY = "english/service/pebble"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A server with default settings and no selection."""
    with home(tmp_path_factory.mktemp("pebble")) as opened:
        opened.launch()
        yield opened


async def answer(connected: Client, prompt: str, **fields: Any) -> Any:
    events = await connected.generate(prompt, **fields)
    events += await connected.settle()
    end = ends_once(events)
    assert events[-1][0] == "text_generated", end
    assert end["text"] == chunks(events)
    return end


async def mounted(connected: Client) -> int:
    answer = await connected.ask("add_personality", {"path": PERSONALITY},
                                 reply="personality_added")  # fmt: skip
    return int(answer["id"])


def test_it_answers_without_any_selecting(server: Home) -> None:
    async def scenario() -> list[Event]:
        async with client(server) as connected:
            return (
                await connected.generate("Once upon a time", n_predicts=40, parameters=LONG)
                + await connected.settle()
            )

    assert MODEL in server.http("/ready")[1]
    events = run(scenario())
    end = ends_once(events)
    assert end["text"] == chunks(events) and end["tokens"] == 40
    assert len(events) > 5  # it streams


def test_the_same_seed_says_the_same_and_another_seed_something_else(server: Home) -> None:
    async def scenario() -> list[str]:
        async with client(server) as connected:
            return [
                (await answer(connected, "Once upon a time", n_predicts=60,
                              parameters={**LONG, "seed": seed}))["text"]
                for seed in (7, 7, 8)
            ]  # fmt: skip

    one, again, other = run(scenario())
    assert one == again != other


def test_a_personality_answers_and_its_anti_prompts_are_not_seen(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as connected:
            id = await mounted(connected)
            active = await connected.ask("activate_personality", {"id": id},
                                         reply="activate_personality")  # fmt: skip
            assert active["success"] and active["name"] == "Pebble"
            return await answer(connected, "What is the capital of France?", personality=id,
                                parameters=GREEDY)  # fmt: skip

    end = run(scenario())
    assert end["text"].strip() and "!@>" not in end["text"]
    assert end["reason"] == "stop"


def test_the_second_turn_knows_the_first(server: Home) -> None:
    """Earlier turns are part of the next prompt, in the same session only."""

    async def scenario() -> tuple[Any, Any, Any]:
        second = "And of Spain?"
        async with client(server) as connected, client(server) as stranger:
            id = await mounted(connected)
            first = await answer(connected, "What is the capital of France?", personality=id,
                                 parameters=GREEDY)  # fmt: skip
            then = await answer(connected, second, personality=id, parameters=GREEDY)
            alone = await answer(stranger, second, personality=id, parameters=GREEDY)
            return first, then, alone

    first, then, alone = run(scenario())
    assert then["prompt_tokens"] > alone["prompt_tokens"] + first["tokens"]
    assert then["text"] and then["dropped_tokens"] == 0


def test_a_stop_string_ends_the_answer_and_is_not_shown(server: Home) -> None:
    async def scenario() -> tuple[str, Any]:
        async with client(server) as connected:
            fields = {"prompt": "Once upon a time", "n_predicts": 40}
            whole = await answer(connected, parameters=LONG, **fields)
            stop = whole["text"][40:46]
            parameters = {**LONG, "stop": [stop]}
            cut = await answer(connected, parameters=parameters, **fields)
            return str(whole["text"]).partition(stop)[0], cut

    expected, cut = run(scenario())
    assert cut["text"] == expected and cut["reason"] == "stop"


def test_a_cancel_in_the_middle_keeps_what_came_and_the_next_prompt_is_served(
    server: Home,
) -> None:
    async def scenario() -> tuple[list[Event], Any]:
        async with client(server) as connected:
            await connected.emit(
                "generate_text", {"prompt": "Once", "n_predicts": 900, "parameters": LONG}
            )
            events = [await connected.next("text_chunk")]
            await connected.emit("cancel_generation")
            events += await connected.until("text_generated") + await connected.settle()
            return events, await answer(connected, "Once", n_predicts=5, parameters=LONG)

    events, after = run(scenario())
    told = [name for name in names(events) if name != "text_chunk"]
    assert told == ["generation_canceled", "text_generated"]
    assert events[-1][1]["text"] == chunks(events)
    assert after["tokens"] == 5


@pytest.mark.parametrize(
    "text", ["Hello, world.", "Été à l'ombre 🦉", "  two  spaces\n", "!@>user:"]
)
def test_tokenize_and_detokenize_are_inverse_with_the_real_vocabulary(
    server: Home, text: str
) -> None:
    async def scenario() -> tuple[list[int], str]:
        async with client(server) as connected:
            tokens = (await connected.ask("tokenize", {"prompt": text}, reply="tokenized"))[
                "tokens"
            ]
            back = await connected.ask("detokenize", {"tokens": tokens}, reply="detokenized")
            return tokens, back["text"]

    tokens, back = run(scenario())
    assert back == text and tokens and all(type(token) is int for token in tokens)


def test_a_killed_workers_answer_goes_on_as_if_nothing_had_happened(server: Home) -> None:
    gateway = server.gateway_pid()
    asked = {"n_predicts": 400, "parameters": LONG}

    async def scenario() -> tuple[list[Event], Any]:
        async with client(server) as connected:
            [worker] = server.worker_pids()
            await connected.emit("generate_text", {"prompt": "Once", **asked})
            events = [await connected.next("text_chunk")]
            server.kill(worker, signal.SIGKILL)
            events += await connected.until("generation_error", "text_generated")
            events += await connected.settle()
            return events, await answer(connected, "Once", **asked)

    events, undisturbed = run(scenario())
    end = ends_once(events)
    assert end["text"] == chunks(events) == undisturbed["text"]
    assert end["tokens"] == undisturbed["tokens"] == 400
    assert server.gateway_pid() == gateway


async def select_model(connected: Client, name: str) -> Any:
    return await connected.ask("select_model", {"model_name": name}, reply="select_model")


def test_what_does_not_fit_is_refused_with_both_numbers_and_what_fits_waits_for_nobody(
    tmp_path: Path,
) -> None:
    """A change of the model does not disturb another session's generation."""
    models = tmp_path / "models" / "llama_cpp"
    models.mkdir(parents=True)
    shipped = (ROOT / "bindings" / "llama_cpp" / "models" / MODEL).read_bytes()
    (models / "second.gguf").write_bytes(shipped)
    with (models / "huge.gguf").open("wb") as huge:
        huge.write(shipped)
        huge.truncate(2**40)  # a sparse file: it takes no space
    (tmp_path / "config.yaml").write_text("bindings: {llama_cpp: {processes: 2}}\n")
    wanted = {"n_predicts": 400, "parameters": LONG}

    async def scenario(server: Home) -> None:
        async with client(server) as one, client(server) as two:
            alone = await answer(one, "Once upon a time", **wanted)
            await one.emit("generate_text", {"prompt": "Once upon a time", **wanted})
            events = [await one.next("text_chunk")]
            refused = await select_model(two, "huge.gguf")
            assert refused["success"] is False
            assert re.search(r"needs about 1024\.0 GiB .* [\d.]+ [GM]iB are available",
                             refused["error"]), refused  # fmt: skip
            assert (await select_model(two, "second.gguf"))["success"]
            assert (await answer(two, "Hello!", n_predicts=5, parameters=LONG))["tokens"] == 5
            events += await one.until("text_generated")
            assert ends_once(events)["text"] == chunks(events) == alone["text"]

    with home(tmp_path) as server:
        server.launch()
        run(scenario(server))


def test_with_chat_template_the_model_is_asked_in_its_own_form(tmp_path: Path) -> None:
    """Same answers as to the rendered template, for each turn; raw prompts stay as they are."""
    (tmp_path / "config.yaml").write_text("bindings: {llama_cpp: {chat_template: true}}\n")
    wanted = {"n_predicts": 20, "parameters": GREEDY}

    async def scenario(server: Home) -> None:
        async with client(server) as one, client(server) as raw:
            personality = await mounted(one)
            card = yaml.safe_load(
                (ROOT / "personalities" / PERSONALITY / "config.yaml").read_text()
            )
            text = f"<|system|>{card['personality_conditioning']}<|end|>"
            for prompt in ("Hello!", "Who are you?"):
                text += f"<|user|>{prompt}<|end|><|assistant|>"
                said = await answer(one, prompt, personality=personality, **wanted)
                same = await answer(raw, text, **wanted)
                assert said["text"] == same["text"] != ""
                assert said["prompt_tokens"] == same["prompt_tokens"]
                text += f"{said['text'].strip()}<|end|>"

    with home(tmp_path) as server:
        server.launch()
        run(scenario(server))
