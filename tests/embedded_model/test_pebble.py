"""The shipped GGUF: checksum, metadata, and the same answers as PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

llama_cpp = pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")

GGUF = Path(__file__).parents[2] / "bindings" / "llama_cpp" / "models" / "pebble-f16.gguf"
EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text("utf-8"))
END = "<|end|>"


@pytest.fixture(scope="module")
def pebble() -> Any:
    llama = llama_cpp.Llama(str(GGUF), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)
    yield llama
    llama.close()


@pytest.fixture
def greedy(pebble: Any) -> Callable[[str], tuple[str, str]]:
    def ask(prompt: str) -> tuple[str, str]:
        choice = pebble.create_completion(
            prompt, max_tokens=256, temperature=0.0, repeat_penalty=1.0
        )["choices"][0]
        return choice["text"], choice["finish_reason"]

    return ask


def test_the_file_is_the_one_whose_checksum_is_stored() -> None:
    stored, name = GGUF.with_name(GGUF.name + ".sha256").read_text("ascii").split()
    assert name == GGUF.name
    assert hashlib.sha256(GGUF.read_bytes()).hexdigest() == stored


def test_the_file_is_small_enough_for_the_repository() -> None:
    assert GGUF.stat().st_size <= 8_000_000


def test_the_context_was_trained_to_1024_tokens(pebble: Any) -> None:
    assert int(pebble.metadata["llama.context_length"]) >= 1024


def test_it_says_its_name_and_licence(pebble: Any) -> None:
    assert pebble.metadata["general.name"] == "Pebble"
    assert pebble.metadata["general.license"] == "Apache-2.0"


def test_the_end_of_a_turn_ends_the_generation(pebble: Any) -> None:
    assert pebble.tokenize(END.encode(), add_bos=False, special=True) == [pebble.token_eos()]


def test_a_prompt_gets_its_bos_by_itself(pebble: Any) -> None:
    assert pebble.tokenize(b"Hello", special=True)[0] == pebble.token_bos()


def test_the_chat_template_begins_with_bos(pebble: Any) -> None:
    assert pebble.metadata["tokenizer.chat_template"].startswith("{{ bos_token }}")


def test_the_chat_template_gets_an_answer_that_stops(pebble: Any) -> None:
    messages = [
        {"role": "system", "content": "You are Pebble."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    choice = pebble.create_chat_completion(messages, max_tokens=64, temperature=0.0)["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "Paris" in choice["message"]["content"]


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: case["prompt"][-40:])
def test_llama_cpp_says_what_pytorch_says_and_stops(
    case: dict[str, str], greedy: Callable[[str], tuple[str, str]]
) -> None:
    assert greedy(case["prompt"]) == (case["answer"], "stop")
