"""Loading models: details, invalid files, failed loads, settings and embeddings."""

import logging
import struct
from pathlib import Path

import pytest

from benchmarks.random_model import Shape, write
from bindings.llama_cpp import LlamaCpp, gguf_header, library_log
from tests.bindings.llama_cpp.conftest import PEBBLE
from tests.bindings.llama_cpp.driving import GREEDY, STORY, alone, request
from worker.binding import BindingError, Model, ModelNotFound, OutOfMemory, Request


def test_a_q8_0_model_loads_and_computes(binding: LlamaCpp, models: Path) -> None:
    """What crashes on a processor with AMX when the library was compiled carelessly."""
    path = write(models / "q8.gguf", Shape(width=256, weights="Q8_0"))
    binding.load(Model("q8", path, {"n_threads": 1}))
    assert len(alone(binding, request(binding, "x" * 300, 8, ignore_eos=True))) == 8
    assert binding.details()["quantisation"].startswith("Q8_0")


def test_details_say_what_was_loaded(pebble: LlamaCpp) -> None:
    details = pebble.details()
    assert details["architecture"] == "llama"
    assert details["quantisation"] == "F16"
    assert details["name"] == "Pebble"
    assert int(details["parameters"]) > 1_000_000
    assert details["context"] == str(pebble.context_size)
    assert "<|user|>" in details["chat_template"]
    assert all(isinstance(value, str) for value in details.values())


BROKEN = {
    "empty": b"",
    "no GGUF": b"This is not a model. " * 100,
    "version": b"GGUF" + struct.pack("<IQQ", 99, 0, 0) + bytes(100),
    "endless metadata": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60) + bytes(100),
    "endless string": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62) + b"general.name",
    "endless array": b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 4, 2**61) + bytes(9),
    "unknown type": b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"a", 77) + bytes(99),
    "no architecture": b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(100),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_model_is_refused_with_the_reason(
    binding: LlamaCpp, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(BROKEN[kind])
    with pytest.raises(BindingError, match=r"broken\.gguf.{10}"):
        binding.load(Model("broken", path))


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused_with_the_reason(
    binding: LlamaCpp, tmp_path: Path, share: float
) -> None:
    path = tmp_path / "cut.gguf"
    whole = PEBBLE.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BindingError, match=r"cut off|not within the file bounds"):
        binding.load(Model("cut", path))


def test_a_text_without_end_is_passed_over(tmp_path: Path) -> None:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    path = tmp_path / "long.gguf"
    fields = [(b"tokenizer.chat_template", b"{{" * 2**20), (b"general.name", b"short")]
    packed = b"".join(text(key) + struct.pack("<I", 8) + text(value) for key, value in fields)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + packed)
    assert gguf_header.read(path).metadata == {
        "tokenizer.chat_template": "", "general.name": "short",
    }  # fmt: skip


def test_a_missing_file_is_not_found(binding: LlamaCpp, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"absent\.gguf"):
        binding.load(Model("absent", tmp_path / "absent.gguf"))
    with pytest.raises(ModelNotFound):
        binding.load(Model("absent"))
    with pytest.raises(BindingError):
        binding.load(Model("folder", tmp_path))


def test_an_unknown_architecture_is_refused_by_name(binding: LlamaCpp, tmp_path: Path) -> None:
    path = write(tmp_path / "odd.gguf", Shape())
    data = path.read_bytes().replace(b"llama", b"zebra")
    path.write_bytes(data)
    with pytest.raises(BindingError, match="zebra"):
        binding.load(Model("odd", path))


def test_after_a_failed_load_the_old_model_serves_and_says_what_it_said(
    binding: LlamaCpp, tmp_path: Path
) -> None:
    binding.load(Model("pebble", PEBBLE, {"n_threads": 1, "parallel": 3}))
    before = alone(binding, request(binding, STORY, 10, **GREEDY))
    path = tmp_path / "bad.gguf"
    path.write_bytes(PEBBLE.read_bytes()[:1_000_000])
    for model in (
        Model("bad", path),
        Model("absent", tmp_path / "absent.gguf"),
        Model("pebble", PEBBLE, {"n_ctx": "many"}),
        Model("pebble", PEBBLE, {"lora": str(path)}),
        Model("pebble", PEBBLE, {"type_v": "q8_0", "flash_attn": "off"}),
    ):
        with pytest.raises(BindingError):
            binding.load(model)
    assert binding.slots == 3
    assert alone(binding, request(binding, STORY, 10, **GREEDY)) == before


def test_another_model_takes_the_place(binding: LlamaCpp, tiny: Path) -> None:
    binding.load(Model("pebble", PEBBLE))
    binding.load(Model("tiny", tiny, {"n_ctx": 512}))
    assert binding.details()["name"] == "Random"
    assert binding.context_size == 512
    assert alone(binding, request(binding, "abc", 3, ignore_eos=True))


def test_without_a_model_everything_says_so(binding: LlamaCpp) -> None:
    for call in (
        lambda: next(iter(binding.generate(Request("x")))),
        lambda: binding.tokenize("x"),
        lambda: binding.detokenize([1]),
        lambda: binding.embed("x"),
    ):
        with pytest.raises(BindingError, match="no model is loaded"):
            call()
    assert binding.details() == {}


def test_a_model_that_cannot_fit_is_refused_with_both_numbers(binding: LlamaCpp) -> None:
    with pytest.raises(
        BindingError, match=r"needs about [\d.]+ GiB .* [\d.]+ [GM]iB are available"
    ):
        binding.load(Model("pebble", PEBBLE, {"n_cells": 2**26}))


@pytest.mark.parametrize(
    "settings",
    [
        {"type_k": "q8_0", "type_v": "q8_0", "flash_attn": "on"},
        {"type_k": "q4_0"},
        {"type_k": "bf16", "type_v": "bf16"},
        {"flash_attn": "off"},
        {"use_mmap": False},
        {"n_batch": 8, "n_ubatch": 4, "chunk": 3},
        {"parallel": 1, "kept_memory": 1},
        {"rope_scaling": "linear", "rope_freq_scale": 0.5, "rope_freq_base": 20_000.0},
        {"n_gpu_layers": 0, "split_mode": "none", "tensor_split": "1"},
        {"n_ctx": 100},
        {"kv_unified": "on"},
        {"kv_unified": "off", "n_ctx": 100},
    ],
    ids=str,
)
def test_settings_reach_the_model(
    binding: LlamaCpp, settings: dict[str, str | int | float | bool]
) -> None:
    binding.load(Model("pebble", PEBBLE, {"n_threads": 1, **settings}))
    asked = request(binding, STORY * 2, 5, ignore_eos=True, seed=1)
    again = request(binding, STORY * 2, 5, ignore_eos=True, seed=1)
    assert alone(binding, asked) == alone(binding, again)


def test_llama_cpp_speaks_through_logging_only(
    binding: LlamaCpp, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG, "llama.cpp"):
        binding.load(Model("pebble", PEBBLE))
    assert any("n_ctx" in record.message for record in caplog.records)
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_embeddings_tell_the_same_from_the_other(pebble: LlamaCpp) -> None:
    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    bear, again, sums = (pebble.embed(t) for t in ("a bear slept", "a bear slept", "1+1=2 4*4"))
    assert len(bear) == int(pebble.details()["embedding_width"])
    assert likeness(bear, bear) == pytest.approx(1)
    assert likeness(bear, again) == pytest.approx(1)
    assert likeness(bear, sums) < 0.99
    with pytest.raises(BindingError, match="tokens"):
        pebble.embed("word " * 5000)


def test_embeddings_can_be_switched_off(binding: LlamaCpp) -> None:
    binding.load(Model("pebble", PEBBLE, {"embeddings": "off"}))
    with pytest.raises(BindingError, match="switched off"):
        binding.embed("x")


def test_a_load_tells_that_it_goes_on(binding: LlamaCpp) -> None:
    told: list[float | None] = []

    def progress(fraction: float | None = None) -> None:
        told.append(fraction)

    binding.load(Model("pebble", PEBBLE, {"n_threads": 1}, progress))
    parts = [part for part in told if part is not None]
    assert len(parts) > 2 and parts == sorted(parts) == told
    assert 0 <= parts[0] < parts[-1] == 1.0


def test_the_mapped_bytes_are_those_of_the_file_unless_it_is_copied_or_locked(
    binding: LlamaCpp, tiny: Path
) -> None:
    binding.load(Model("tiny", tiny, {"n_gpu_layers": 0}))
    assert binding.mapped == tiny.stat().st_size
    for setting in ({"use_mmap": False}, {"use_mlock": True}):
        binding.load(Model("tiny", tiny, {"n_gpu_layers": 0, **setting}))
        assert binding.mapped == 0
    assert library_log.copied_weights() == 0
    binding.load(Model("tiny", tiny, {"n_gpu_layers": 0, "use_mmap": False}))
    assert library_log.copied_weights() > 0, "the library words its log in another way"


def test_weights_that_llama_cpp_rearranges_are_not_mapped(caplog: pytest.LogCaptureFixture) -> None:
    """It copies some kinds of weights into memory of its own: what is counted twice would make
    models seem not to fit."""
    library_log.clear_errors()
    for line in (
        b"load_tensors:   CPU_Mapped model buffer size =     6.21 MiB\n",
        b"load_tensors:   CPU_REPACK model buffer size =     6.50 MiB\n",
        b"llama_context:        CPU  output buffer size =     0.01 MiB\n",
    ):
        library_log._receiver.receive(2, line, None)
    assert library_log.copied_weights() == 6.5 * 2**20
    library_log.clear_errors()
    assert library_log.copied_weights() == 0


def test_a_model_that_fits_only_without_the_other_workers_is_refused_and_the_old_one_stays(
    binding: LlamaCpp, tiny: Path
) -> None:
    binding.load(Model("pebble", PEBBLE, {"n_threads": 1}))
    before = alone(binding, request(binding, STORY, 10, **GREEDY))
    with pytest.raises(OutOfMemory, match="are available"):
        binding.load(Model("tiny", tiny, {"n_gpu_layers": 0}, mapped=2**50))
    assert alone(binding, request(binding, STORY, 10, **GREEDY)) == before
    binding.load(Model("tiny", tiny, {"n_gpu_layers": 0}, mapped=2**20))
    assert binding.details()["name"] == "Random"
