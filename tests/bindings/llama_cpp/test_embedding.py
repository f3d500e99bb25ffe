"""Embeddings in chunks: the same vector, bounded time and memory, and a cancel in between."""

import ctypes
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.random_model import Shape, write
from bindings.llama_cpp import LlamaCpp, memory_plan
from bindings.llama_cpp.native import api
from tests.bindings.llama_cpp.conftest import EXACT
from tests.bindings.llama_cpp.driving import request
from tests.bindings.llama_cpp.odd_models import write_encoder, write_mamba
from worker.binding import BindingError, ContextOverflow, Model

TEXT = "Once upon a time a bear slept in the wood, and nobody dared to wake it. " * 14
POOLING = {"mean": 1, "first token": 2, "last token": 3}


def at_once(binding: LlamaCpp, text: str, pooling: int) -> list[float]:
    """The vector as llama.cpp itself pools it, from one `llama_decode` of the whole text."""
    model = binding._model
    assert model
    tokens = binding.tokenize(text)
    parameters = api.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 2048
    parameters.n_seq_max, parameters.embeddings = 1, True
    parameters.pooling_type, parameters.flash_attn_type = pooling, 0
    parameters.n_threads = parameters.n_threads_batch = 1
    context = api.llama_init_from_model(model.model, parameters)
    given = (ctypes.c_int32 * len(tokens))(*tokens)
    batch = api.llama_batch_get_one(given, len(tokens))
    batch.logits = (ctypes.c_int8 * len(tokens))(*[1] * len(tokens))
    assert api.llama_decode(context, batch) == 0
    width = api.llama_model_n_embd(model.model)
    vector = np.array(api.llama_get_embeddings_seq(context, 0)[:width], np.float64)
    api.llama_free(context)
    return list(vector / np.linalg.norm(vector))


@pytest.mark.parametrize("pooling", POOLING)
@pytest.mark.parametrize("weights", ["F32", "F16", "Q8_0"])
def test_a_text_in_chunks_has_the_vector_of_the_whole(
    binding: LlamaCpp, tmp_path: Path, weights: str, pooling: str
) -> None:
    path = write(
        tmp_path / "m.gguf", Shape(weights=weights),  # type: ignore[arg-type]
        **{"llama.pooling_type": POOLING[pooling]},
    )  # fmt: skip
    binding.load(Model("m", path, {"n_threads": 1}))
    pieces = list(binding.embed_pieces(TEXT))
    assert pooling == "first token" or len(pieces) > 2
    vector = pieces.pop()
    assert vector and pieces == [None] * len(pieces)
    assert vector == pytest.approx(at_once(binding, TEXT, POOLING[pooling]), abs=1e-5)


def test_a_model_without_pooling_has_the_mean_of_its_tokens(pebble: LlamaCpp) -> None:
    assert pebble.embed(TEXT) == pytest.approx(at_once(pebble, TEXT, POOLING["mean"]), abs=1e-5)


def test_the_vector_does_not_depend_on_the_size_of_the_chunks(pebble: LlamaCpp) -> None:
    first = pebble.embed(TEXT)
    assert pebble.embed(TEXT) == pytest.approx(first, abs=1e-7)  # in larger chunks by now


def test_a_model_with_a_state_has_embeddings_and_keeps_none_of_the_last_text(
    binding: LlamaCpp, tmp_path: Path
) -> None:
    binding.load(Model("mamba", write_mamba(tmp_path / "mamba.gguf"), EXACT))
    first = binding.embed(TEXT)
    binding.embed("something else")
    assert binding.embed(TEXT) == pytest.approx(first, abs=1e-5)


def test_while_a_generation_runs_a_chunk_takes_a_bounded_time(
    binding: LlamaCpp, slow: Path
) -> None:
    """Of processor time: this machine may have other work."""
    binding.load(Model("slow", slow, {"n_threads": 1}))
    generation = binding.generate(request(binding, "abc", 50, ignore_eos=True))
    next(generation)
    times = []
    pieces = binding.embed_pieces("a bear " * 200)
    vector = None
    while not vector:
        before = time.thread_time()
        vector = next(pieces)
        times.append(time.thread_time() - before)
    generation.close()  # type: ignore[attr-defined]
    assert len(times) > 5
    assert sorted(times)[-2] < 0.08, times  # the first one was not measured


def test_a_cancelled_embedding_leaves_nothing_to_the_next(binding: LlamaCpp, slow: Path) -> None:
    binding.load(Model("slow", slow, {"n_threads": 1}))
    expected = binding.embed("a short text")
    pieces = binding.embed_pieces("a bear " * 200)
    assert next(pieces) is None
    pieces.close()  # type: ignore[attr-defined]
    assert binding.embed("a short text") == pytest.approx(expected, abs=1e-5)


def test_a_text_that_is_too_long_is_refused_with_both_numbers(pebble: LlamaCpp) -> None:
    with pytest.raises(ContextOverflow, match=r"has \d+ tokens, at most 1024 fit"):
        list(pebble.embed_pieces("word " * 5000))


def test_an_encoder_reads_the_whole_text_and_can_be_cancelled_meanwhile(
    binding: LlamaCpp, tmp_path: Path
) -> None:
    binding.load(Model("bert", write_encoder(tmp_path / "bert.gguf"), {"n_threads": 1}))
    pieces = list(binding.embed_pieces(TEXT))
    assert len(pieces) > 1, "it did not yield while it computed"
    pieces_of_another = binding.embed_pieces(TEXT)
    assert next(pieces_of_another) is None
    before = time.perf_counter()
    pieces_of_another.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - before < 0.2
    assert binding.embed(TEXT) == pytest.approx(pieces[-1], abs=1e-6)


def test_the_memory_for_embeddings_is_bounded_and_checked(
    binding: LlamaCpp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = memory_plan.MemoryPlan(8192, 65536, 10**9, 65536 * 1000)
    found = memory_plan.embedding(plan, 150_000, chunked=True)
    assert found.total < 48 * 2**20  # one row of logits a token would be 2.4 GiB
    path = write(tmp_path / "m.gguf", Shape())
    binding.load(Model("m", path, {"n_threads": 1}))
    monkeypatch.setattr(memory_plan, "available", lambda: 1000)
    with pytest.raises(
        BindingError, match=r"embeddings need about \d+ MiB and 0 MiB are available"
    ):
        binding.embed("x")
    monkeypatch.undo()
    assert binding.embed("x")


@pytest.mark.parametrize("what", ["tokenize", "detokenize"])
def test_a_long_text_is_tokenised_beside_the_model_thread(pebble: LlamaCpp, what: str) -> None:
    text = "Once upon a time there was a bear. " * 20_000
    tokens = pebble.tokenize(text)
    if what == "tokenize":
        *waits, result = list(pebble.tokenize_pieces(text))
        assert result == tokens
    else:
        *waits, data = list(pebble.detokenize_pieces(tokens))
        assert data == pebble.detokenize(tokens)
    assert waits and set(waits) == {None}
    assert len(list(pebble.tokenize_pieces("short"))) == 1


# What is visible of a long native call.


def test_progress_is_seen_while_a_prompt_is_computed(binding: LlamaCpp, slow: Path) -> None:
    binding.load(Model("slow", slow, {"n_threads": 1}))
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen.add(binding.progress())

    watcher = threading.Thread(target=watch)
    watcher.start()
    model = binding._model
    assert model
    count = 1024
    tokens = (ctypes.c_int32 * count)(*[5] * count)
    assert api.llama_decode(model._context, api.llama_batch_get_one(tokens, count)) == 0
    done.set()
    watcher.join()
    assert len(seen) > 10, seen
    still = binding.progress()
    time.sleep(0.02)
    assert binding.progress() == still
    model.clear()


def test_progress_never_goes_back(binding: LlamaCpp, tiny: Path) -> None:
    binding.load(Model("tiny", tiny, {"n_threads": 1}))
    assert binding._model
    flag, seen = binding._model.abort, [binding.progress()]
    for _ in range(3):
        flag.set()
        seen.append(binding.progress())
        flag.clear()
        seen.append(binding.progress())
    assert seen == sorted(seen)
