"""Settings of the `llama_cpp` binding: conversion, checks and threads."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bindings.llama_cpp.model import cores, threads
from bindings.llama_cpp.settings import Settings, read
from worker.binding import BindingError


def test_every_setting_is_explained() -> None:
    for setting in fields(Settings):
        assert setting.metadata["doc"].endswith("."), setting.name


def test_values_are_taken_as_text_too() -> None:
    found = read({"n_ctx": "2048", "use_mmap": "off", "rope_freq_base": "1e4", "parallel": 4.0})
    assert found == Settings(n_ctx=2048, use_mmap=False, rope_freq_base=10_000.0, parallel=4)
    assert read({"flash_attn": True}).flash_attn == "on"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"n_cxt": 5}, r"n_cxt.*did you mean n_ctx"),
        ({"xyzzy": "red"}, r"no setting 'xyzzy'$"),
        ({"n_ctx": "many"}, "whole number"),
        ({"n_ctx": 1.5}, "whole number"),
        ({"n_ctx": True}, "whole number"),
        ({"n_ctx": -1}, "at least 0"),
        ({"n_ctx": 1e30}, "at most"),
        ({"parallel": 0}, "at least 1"),
        ({"parallel": 201}, "at most 200"),
        ({"use_mmap": "maybe"}, "true or false"),
        ({"rope_freq_base": "nan"}, "a number"),
        ({"type_k": "q2_k"}, "one of f32"),
        ({"tensor_split": "1,x"}, "numbers with commas"),
        ({"n_threads": "inf"}, "whole number"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BindingError, match=words) as caught:
        read(given)
    assert next(iter(given)) in str(caught.value)


def test_adapters_are_paths_with_scales() -> None:
    given = read({"lora": "a.gguf, b.gguf:0.5,c:/d.gguf"})
    assert given.adapters == [("a.gguf", 1.0), ("b.gguf", 0.5), ("c:/d.gguf", 1.0)]
    assert read({}).adapters == []


def test_threads_are_the_cores_less_one_divided_among_the_sharers() -> None:
    own = cores()
    assert threads(read({})) == max(1, own - 1)
    assert threads(read({"sharers": 2})) == max(1, (own - 1) // 2)
    assert threads(read({"sharers": 1000})) == 1
    assert threads(read({"n_threads": 7, "sharers": 3})) == 7


def test_a_quota_counts_as_fewer_cores(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    assert cores(quota) == 1
    quota.write_text("max 100000\n")
    assert cores(quota) == cores(tmp_path / "absent") >= 1
