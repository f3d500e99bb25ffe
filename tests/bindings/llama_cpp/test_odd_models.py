"""LoRA adapters, a recurrent model, and a load that fails after the old model is closed."""

from pathlib import Path

import pytest

from benchmarks.random_model import Shape, write
from bindings.llama_cpp import LlamaCpp, memory_plan
from tests.bindings.llama_cpp.conftest import EXACT, PEBBLE
from tests.bindings.llama_cpp.driving import GREEDY, STORY, alone, request, together
from tests.bindings.llama_cpp.odd_models import write_lora, write_mamba
from worker.binding import BindingError, Model, ModelLost


def test_an_adapter_changes_what_the_model_says_by_its_scale(
    binding: LlamaCpp, tiny: Path, tmp_path: Path
) -> None:
    adapter = write_lora(tmp_path / "a.gguf", Shape(weights="F32"))

    def said(**settings: str) -> list[int]:
        binding.load(Model("tiny", tiny, {**EXACT, **settings}))
        return alone(binding, request(binding, STORY, 16, ignore_eos=True, **GREEDY))

    without = said()
    full = said(lora=str(adapter))
    assert full != without
    assert said(lora=f"{adapter}:0") == without
    halves = said(lora=f"{adapter}:0.5,{adapter}:0.5")
    assert halves == full


def test_an_adapter_of_another_model_is_refused(
    binding: LlamaCpp, tiny: Path, tmp_path: Path
) -> None:
    adapter = write_lora(tmp_path / "wide.gguf", Shape(width=128))
    with pytest.raises(BindingError, match=r"wide\.gguf does not load"):
        binding.load(Model("tiny", tiny, {"lora": str(adapter)}))


def test_a_model_with_a_state_generates_alone_as_in_company(
    binding: LlamaCpp, tmp_path: Path
) -> None:
    path = write_mamba(tmp_path / "mamba.gguf")
    binding.load(Model("mamba", path, {**EXACT, "n_ctx": 256}))
    lengths = range(3, 27, 3)
    asked = [request(binding, f"{n} {STORY}", n, ignore_eos=True, seed=n) for n in lengths]
    found = together(binding, *asked)
    assert [len(tokens) for tokens in found] == list(lengths)
    for n, tokens in zip(lengths, found, strict=True):
        again = request(binding, f"{n} {STORY}", n, ignore_eos=True, seed=n)
        assert alone(binding, again) == tokens
        assert again.usage.reused_tokens == 0


def test_what_had_to_make_room_for_a_model_that_does_not_load_is_lost(
    binding: LlamaCpp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding.load(Model("pebble", PEBBLE, {"n_ctx": 256}))
    wrong = write(tmp_path / "wrong.gguf", Shape())
    wrong.write_bytes(wrong.read_bytes().replace(b"llama", b"zebra"))
    monkeypatch.setattr(memory_plan, "available", lambda **_: 2**18)  # less than its weights
    with pytest.raises(ModelLost, match=r"zebra.*had to make room"):
        binding.load(Model("wrong", wrong, {"n_ctx": 256}))
    with pytest.raises(BindingError, match="no model is loaded"):
        alone(binding, request(binding, STORY))
    monkeypatch.undo()
    binding.load(Model("pebble", PEBBLE, {"n_ctx": 256}))
    assert alone(binding, request(binding, STORY, 3, ignore_eos=True))
