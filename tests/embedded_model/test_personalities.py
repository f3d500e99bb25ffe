"""The shipped personalities: zoo format, and Pebble's answers in each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

llama_cpp = pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "personalities"
GGUF = ROOT / "bindings" / "llama_cpp" / "models" / "pebble-f16.gguf"
FOLDERS = sorted(str(p.parent.relative_to(ZOO)) for p in ZOO.glob("*/*/*/config.yaml"))
KEYS = {
    "name": str,
    "author": str,
    "version": str,
    "user_name": str,
    "language": str,
    "category": str,
    "personality_description": str,
    "personality_conditioning": str,
    "welcome_message": str,
    "include_welcome_message_in_disucssion": bool,
    "user_message_prefix": str,
    "link_text": str,
    "ai_message_prefix": str,
    "anti_prompts": list,
    "model_temperature": float,
    "model_n_predicts": int,
    "model_top_k": int,
    "model_top_p": float,
    "model_repeat_penalty": float,
    "model_repeat_last_n": int,
    "dependencies": list,
    "disclaimer": str,
}
MARKS = {
    "english/fun/pirate": ("arr", "ahoy", "yo ho", "matey"),
    "english/fun/poet": ("~",),
    "english/fun/robot": ("beep", "bzzt", "boop"),
    "english/learning/dr. owl": ("hoo-hoo",),
    "english/service/butler": ("my dear guest",),
    "english/service/pebble": (),
    "french/fun/mamie": ("mon petit chou",),
    "french/service/concierge": ("cher client",),
}
QUESTIONS = {
    "english": [
        ("Who are you?", "Pebble"),
        ("What is the capital of Italy?", "Rome"),
        ("Thank you!", ""),
    ],
    "french": [
        ("Qui êtes-vous ?", "Pebble"),
        ("Quelle est la capitale de la France ?", "Paris"),
        ("Merci !", ""),
    ],
}


def config_of(folder: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ZOO / folder / "config.yaml").read_text("utf-8"))
    return loaded


@pytest.fixture(scope="module")
def pebble() -> Any:
    llama = llama_cpp.Llama(str(GGUF), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)
    yield llama
    llama.close()


def test_there_are_six_or_more_over_three_categories_in_two_languages() -> None:
    assert set(FOLDERS) == set(MARKS)
    assert len({folder.split("/")[1] for folder in FOLDERS}) >= 3
    assert len({folder.split("/")[0] for folder in FOLDERS}) >= 2


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_config_has_the_keys_of_the_zoo(folder: str) -> None:
    config = config_of(folder)
    assert {key: type(value) for key, value in config.items()} == KEYS
    assert [config["language"], config["category"]] == folder.split("/")[:2]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_logo_is_a_small_png(folder: str) -> None:
    logo = (ZOO / folder / "assets" / "logo.png").read_bytes()
    assert logo.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(logo) < 8192


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("own_sampling", [False, True], ids=["greedy", "own sampling"])
def test_pebble_stays_in_the_personality_for_three_turns(
    folder: str, own_sampling: bool, pebble: Any
) -> None:
    config = config_of(folder)
    sampling: dict[str, Any] = {"temperature": 0.0, "repeat_penalty": 1.0}
    if own_sampling:
        sampling = {
            key: config[f"model_{key}"]
            for key in ("temperature", "top_k", "top_p", "repeat_penalty")
        } | {"seed": 1}
    text = config["personality_conditioning"]
    for question, wanted in QUESTIONS[config["language"]]:
        text += (
            config["user_message_prefix"]
            + question
            + config["link_text"]
            + config["ai_message_prefix"]
        )
        choice = pebble.create_completion(text, max_tokens=config["model_n_predicts"], **sampling)[
            "choices"
        ][0]
        assert choice["finish_reason"] == "stop"
        assert wanted in choice["text"]
        marks = MARKS[folder]
        assert not marks or any(mark in choice["text"].lower() for mark in marks), choice["text"]
        text += choice["text"]
