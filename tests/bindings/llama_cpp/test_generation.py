"""Generation: pieces, resuming, cancelling, aborted prefills and the end of the context."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bindings.llama_cpp import LlamaCpp, decoder, pace
from bindings.llama_cpp.engine import Engine
from bindings.llama_cpp.memory_plan import MemoryPlan
from bindings.llama_cpp.model import LlamaModel
from bindings.llama_cpp.settings import read as read_settings
from protocol.sampling import Sampling
from tests.bindings.llama_cpp.conftest import PEBBLE
from tests.bindings.llama_cpp.driving import GREEDY, STORY, alone, request, text, together, tokens
from worker.binding import BindingError, Model, Piece, Request


def test_the_first_piece_lets_others_join(pebble: LlamaCpp) -> None:
    pieces = pebble.generate(request(pebble, STORY))
    assert pebble.engine
    before = pebble.engine.counters.steps
    assert next(pieces) == Piece()
    assert pebble.engine.counters.steps == before
    pieces.close()  # type: ignore[attr-defined]


def test_every_piece_is_one_token_and_its_bytes(pebble: LlamaCpp) -> None:
    found = [p for p in pebble.generate(request(pebble, STORY, 20, seed=1)) if p.tokens]
    assert all(len(piece.tokens) == 1 for piece in found)
    assert pebble.detokenize(tokens(found)).decode() == text(found)


def test_a_token_without_text_still_has_its_id(pebble: LlamaCpp) -> None:
    control = next(t for t in pebble.tokenize("<|user|>") if t)
    asked = request(pebble, STORY, 3, logit_bias={str(control): 1000.0}, **GREEDY)
    found = [p for p in pebble.generate(asked) if p.tokens]
    assert found == [Piece(b"", (control,))] * 3


def test_characters_that_span_tokens_come_out_whole(exact: LlamaCpp) -> None:
    """The tiny model spells every character beyond ASCII byte by byte."""
    wanted = "é€😀"
    grammar = f'root ::= "{wanted}"'
    found = [p for p in exact.generate(request(exact, STORY, 20, grammar=grammar)) if p.tokens]
    assert len(found) == len(wanted.encode())
    assert text(found) == wanted


def test_text_survives_its_tokens(pebble: LlamaCpp) -> None:
    for sample in (
        "Hello, world!",
        "  two  spaces\n\n",
        "naïve café 😀",
        "<|user|>Hi<|end|>",
        "a\x00b",
    ):
        ids = pebble.tokenize(sample)
        assert ids[0] == 0  # BOS, which this model wants
        assert pebble.detokenize(ids).decode() == sample
    assert pebble.tokenize("\ud800") == pebble.tokenize("?")
    assert pebble.detokenize([5, 10**9, -4]) == pebble.detokenize([5])


def test_names_of_special_tokens_in_a_prompt_are_those_tokens(pebble: LlamaCpp) -> None:
    assert len(pebble.tokenize("<|user|><|end|>")) == 3


def test_an_empty_prompt_generates(pebble: LlamaCpp) -> None:
    assert len(alone(pebble, Request("", (), 5))) <= 5


def test_a_full_context_just_ends(binding: LlamaCpp) -> None:
    binding.load(Model("pebble", PEBBLE, {"n_ctx": 64, "n_threads": 1}))
    asked = request(binding, STORY, 500, ignore_eos=True, seed=1)
    assert binding.context_size == 64
    assert len(asked.tokens) + len(alone(binding, asked)) == 64
    together(binding, *(request(binding, STORY, 500, ignore_eos=True) for _ in range(8)))


def test_a_prompt_larger_than_the_context_is_refused_with_both_numbers(binding: LlamaCpp) -> None:
    binding.load(Model("pebble", PEBBLE, {"n_ctx": 16, "n_threads": 1}))
    asked = request(binding, STORY * 3)
    with pytest.raises(BindingError, match=rf"{len(asked.tokens)} tokens.* 16"):
        alone(binding, asked)


@pytest.mark.parametrize("taken", [1, 7, 19, 20, 25])
@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        {"seed": 4},
        {"seed": 4, "mirostat": 2},
        {"seed": 4, "mirostat": 1, "mirostat_tau": 3.0},
        {"seed": 4, "xtc_probability": 0.5, "top_k": 0},
        {"seed": 4, "dry_multiplier": 1.0},
        {"seed": 4, "grammar": "root ::= [a-z ]+"},
    ],
    ids=str,
)
def test_a_resumed_answer_goes_on_as_if_nothing_had_happened(
    exact: LlamaCpp, sampling: dict[str, object], taken: int
) -> None:
    assert exact.engine
    whole = alone(exact, request(exact, STORY, 25, ignore_eos=True, **sampling))
    assert len(whole) == 25
    exact.engine.clear_cache()
    asked = request(exact, STORY, 25, ignore_eos=True, resume=tuple(whole[:taken]), **sampling)
    pieces = exact.generate(asked)
    assert next(pieces) == Piece()
    assert next(filter(any, pieces)).tokens == tuple(whole[:taken])
    assert whole[:taken] + tokens(list(pieces)) == whole


def test_a_long_resumed_answer_is_replayed_in_parts(exact: LlamaCpp) -> None:
    whole = alone(exact, request(exact, STORY, 300, ignore_eos=True, seed=2))
    others = [request(exact, STORY, 40, seed=n, ignore_eos=True) for n in range(3)]
    resumed = request(exact, STORY, 300, ignore_eos=True, seed=2, resume=tuple(whole[:280]))
    assert together(exact, *others, resumed)[-1] == whole


def test_closing_ends_it_at_once_and_its_beginning_is_kept(pebble: LlamaCpp) -> None:
    assert pebble.engine
    pieces = pebble.generate(request(pebble, STORY, 500))
    for _ in range(6):
        next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert pebble.engine.running == 0
    again = request(pebble, STORY, 1)
    alone(pebble, again)
    assert again.usage.reused_tokens == len(again.tokens) - 1


def test_what_ended_is_put_away_one_by_one_while_nobody_waits(pebble: LlamaCpp) -> None:
    running = [pebble.generate(request(pebble, STORY, 50)) for _ in range(3)]
    for _ in range(4):
        for pieces in running:
            next(pieces)
    for pieces in running:
        pieces.close()  # type: ignore[attr-defined]
    assert [pebble.rest() for _ in range(4)] == [True, True, False, False]
    again = request(pebble, STORY, 1)
    alone(pebble, again)
    assert again.usage.reused_tokens == len(again.tokens) - 1


@pytest.fixture(scope="module")
def loaded_slow(slow: Path) -> Iterator[LlamaCpp]:
    binding = LlamaCpp()
    binding.load(Model("slow", slow, {"n_threads": 1}))
    yield binding
    binding.close()


@pytest.mark.parametrize("company", [False, True], ids=["alone", "beside a neighbour"])
def test_a_cancel_cuts_a_long_prefill_short(loaded_slow: LlamaCpp, company: bool) -> None:
    binding = loaded_slow
    assert binding.engine
    binding.engine.clear_cache()
    neighbour = request(binding, "neighbour", 12, ignore_eos=True, **GREEDY)
    expected = alone(binding, neighbour) if company else []
    beside = binding.generate(request(binding, "neighbour", 12, ignore_eos=True, **GREEDY))
    found = [next(beside) for _ in range(4)] if company else []
    long = request(binding, "".join(chr(97 + n * n % 26) for n in range(4000)), 5)
    prefill = binding.generate(long)
    next(prefill)
    aborted = binding.engine.counters.aborted
    done = threading.Event()

    def keep_interrupting() -> None:  # the first may come before the prefill has begun
        while not done.is_set():
            binding.interrupt(long)

    started = time.monotonic()
    thread = threading.Thread(target=keep_interrupting)
    thread.start()
    assert next(prefill) == Piece()
    done.set()
    thread.join()
    prefill.close()  # type: ignore[attr-defined]
    next_one = request(binding, "next", 1, ignore_eos=True, **GREEDY)
    assert len(alone(binding, next_one)) == 1
    took = time.monotonic() - started
    assert binding.engine.counters.aborted <= aborted + 1
    assert took < 1.5  # the whole prefill takes several times as long
    if company:
        assert tokens([*found, *beside]) == expected
    assert binding.engine.clear_cache() == 0


def test_an_aborted_prefill_goes_on_for_the_others(
    loaded_slow: LlamaCpp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two prompts in one batch, the second cancelled: the first's text is what it would be."""
    monkeypatch.setattr(decoder, "IN_COMPANY", 10.0)
    monkeypatch.setattr(pace, "BEGINNING", 10_000)
    binding = loaded_slow
    assert binding.engine
    prompt = "".join(chr(97 + n * 7 % 26) for n in range(600))
    kept = [request(binding, prompt, 6, ignore_eos=True, **GREEDY) for _ in range(2)]
    expected = alone(binding, kept[0])
    binding.engine.clear_cache()
    first = binding.generate(kept[1])
    cancelled = request(binding, "".join(reversed(prompt)) * 2, 6)
    second = binding.generate(cancelled)
    found = [next(first)]
    next(second)
    engine = binding.engine
    before = engine.counters.aborted
    reached = threading.Event()

    def interrupt_when_it_computes() -> None:
        while not engine.prefilling(cancelled) and not reached.is_set():
            pass
        binding.interrupt(cancelled)

    thread = threading.Thread(target=interrupt_when_it_computes)
    thread.start()
    found.append(next(first))
    reached.set()
    thread.join()
    assert engine.counters.aborted == before + 1
    second.close()  # type: ignore[attr-defined]
    assert tokens([*found, *first]) == expected
    assert engine.clear_cache() == 0


def test_an_abort_that_comes_when_the_prefill_is_over_disturbs_nobody() -> None:
    settings = read_settings({"n_ctx": 256, "parallel": 2, "n_threads": 1})
    plan = MemoryPlan(256, 512, weights=0, kv_cache=0, separate=True)
    model = LlamaModel(PEBBLE, settings, plan, Model("pebble", PEBBLE).progress)
    engine = Engine(model)
    tokens_ = tuple(model.vocabulary.tokenize(STORY))
    sequence = engine.join(Request(STORY, tokens_, 20, Sampling(ignore_eos=True)))
    for length in range(1, 10):
        assert engine.step()
        assert len(sequence.ready) == 1
        sequence.ready.clear()
        assert len(sequence.tokens) == len(tokens_) + length
        model.abort.set()
    engine.leave(sequence)
    model.close()


def test_interrupting_what_is_not_there_does_nothing(pebble: LlamaCpp) -> None:
    pebble.interrupt(request(pebble, STORY))
    LlamaCpp().interrupt(request(pebble, STORY))
