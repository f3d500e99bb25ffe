"""Continuous batching: a shared batch or prefix changes no generation."""

import random
from collections.abc import Iterator

import llama_cpp
import pytest

from bindings.llama_cpp import LlamaCpp
from tests.bindings.llama_cpp.conftest import PEBBLE
from tests.bindings.llama_cpp.driving import GREEDY, STORY, alone, request, together, tokens
from worker.binding import Model, Piece, Request

PROMPTS = [f"<|user|>Tell me {what}.<|end|><|assistant|>" for what in (
    "a story", "a joke", "about bears", "who you are", "what rain is", "a secret", "more",
)]  # fmt: skip


def decided(asked: Request) -> int:
    """Of a greedy answer, how many tokens before the first that was as good as tied."""
    gaps = [chosen - second for (_, chosen), _, (_, second) in asked.usage.logprobs]
    return next((n for n, gap in enumerate(gaps) if gap < 0.1), len(gaps))


def test_alone_in_company_after_a_cached_prefix_and_from_the_library_it_is_one_text(
    pebble: LlamaCpp,
) -> None:
    library = llama_cpp.Llama(str(PEBBLE), n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)
    seen = 0
    for prompt in (STORY, *PROMPTS):
        output = library.create_completion(
            pebble.tokenize(prompt), max_tokens=32, temperature=0.0, repeat_penalty=1.0
        )
        asked = [request(pebble, prompt, 32, logprobs=2, **GREEDY) for _ in range(3)]
        lonely = alone(pebble, asked[0])
        strangers = [request(pebble, p, 40, seed=n) for n, p in enumerate(PROMPTS)]
        in_company = together(pebble, asked[1], *strangers)[0]
        cached = alone(pebble, asked[2])
        assert asked[2].usage.reused_tokens == len(asked[2].tokens) - 1
        sure = min(map(decided, asked))
        seen += sure
        assert lonely[:sure] == in_company[:sure] == cached[:sure]
        text = pebble.detokenize(lonely[:sure]).decode(errors="ignore")
        assert output["choices"][0]["text"].startswith(text)
    library.close()
    assert seen > 50


def test_with_whole_floats_nothing_is_tied(exact: LlamaCpp) -> None:
    """The same without the allowance for ties, and with seeds."""
    for sampling in (GREEDY, {"seed": 7}, {"seed": 8, "mirostat": 2}, {"seed": 9, "top_k": 0}):
        lonely = alone(exact, request(exact, STORY, 24, ignore_eos=True, **sampling))
        strangers = [request(exact, p, 10 + 3 * n, seed=n) for n, p in enumerate(PROMPTS)]
        asked = request(exact, STORY, 24, ignore_eos=True, **sampling)
        assert together(exact, *strangers, asked)[-1] == lonely
        assert asked.usage.reused_tokens == len(asked.tokens) - 1


def test_without_a_seed_every_run_differs(pebble: LlamaCpp) -> None:
    asked = [request(pebble, STORY, 24, temperature=1.5) for _ in range(4)]
    assert len({tuple(found) for found in together(pebble, *asked)}) > 1


def test_one_step_serves_everybody(pebble: LlamaCpp) -> None:
    assert pebble.engine
    before = pebble.engine.counters.steps
    together(pebble, *(request(pebble, p, 10, ignore_eos=True, **GREEDY) for p in PROMPTS))
    assert pebble.engine.counters.steps - before == 10


def test_a_generation_that_is_not_taken_from_is_not_computed_and_holds_up_nobody(
    exact: LlamaCpp,
) -> None:
    assert exact.engine
    expected = alone(exact, request(exact, STORY, 20, ignore_eos=True, **GREEDY))
    paused = exact.generate(request(exact, STORY, 20, ignore_eos=True, **GREEDY))
    early = [next(paused) for _ in range(4)]
    busy = alone(exact, request(exact, PROMPTS[0], 20, ignore_eos=True, **GREEDY))
    assert len(busy) == 20
    assert tokens([*early, *paused]) == expected


def test_a_running_generation_shares_its_beginning(exact: LlamaCpp) -> None:
    first = exact.generate(request(exact, STORY, 20, ignore_eos=True, **GREEDY))
    for _ in range(4):
        next(first)
    second = request(exact, STORY + "Once", 20, ignore_eos=True, **GREEDY)
    found = alone(exact, second)
    first.close()
    assert second.usage.reused_tokens >= len(exact.tokenize(STORY))
    assert exact.engine
    exact.engine.clear_cache()
    assert found == alone(exact, request(exact, STORY + "Once", 20, ignore_eos=True, **GREEDY))


def test_what_comes_together_computes_its_common_beginning_once(exact: LlamaCpp) -> None:
    """A personality's conditioning, for all who wait for it at once."""
    assert exact.engine
    conditioning = "You are a bear who tells stories of the woods, slowly and well. " * 4
    asked = [
        request(exact, conditioning + p, 8, ignore_eos=True, **GREEDY) for p in (*PROMPTS, STORY)
    ]
    before = exact.engine.counters.computed
    found = together(exact, *asked)
    shared = len(exact.tokenize(conditioning))
    computed = exact.engine.counters.computed - before
    assert computed < shared + sum(len(a.tokens) - shared + 8 + 4 for a in asked)
    exact.engine.clear_cache()
    for request_, tokens_ in zip(asked, found, strict=True):
        again = request(exact, request_.prompt, 8, ignore_eos=True, **GREEDY)
        assert alone(exact, again) == tokens_


def test_who_is_left_behind_a_gap_goes_on_as_before(exact: LlamaCpp) -> None:
    asked = [request(exact, p, 5 + 6 * n, ignore_eos=True, seed=n) for n, p in enumerate(PROMPTS)]
    found = together(exact, *asked)
    for request_, tokens_ in zip(asked, found, strict=True):
        again = request(
            exact, request_.prompt, request_.n_predict, ignore_eos=True, seed=request_.sampling.seed
        )
        assert alone(exact, again) == tokens_


def test_a_prompt_counts_up_while_it_is_computed(exact: LlamaCpp) -> None:
    """In parts, because another generation runs; the second time from what is reused."""
    other = exact.generate(request(exact, PROMPTS[0], 400, ignore_eos=True, **GREEDY))
    while not next(other).tokens:
        pass
    for reused in (False, True):
        asked = request(exact, "A long tale of a bear. " * 40, 4, ignore_eos=True, **GREEDY)
        seen = []
        for piece in exact.generate(asked):
            next(other)
            if piece.tokens:
                break
            seen.append(asked.usage.computed_tokens)
        assert asked.usage.computed_tokens >= len(asked.tokens) - 1
        assert seen == sorted(seen) and seen[-1] <= len(asked.tokens)
        assert (asked.usage.reused_tokens > len(asked.tokens) / 2) == reused
        if not reused:
            assert len(set(seen)) > 3
    other.close()  # type: ignore[attr-defined]


def test_the_next_turn_computes_only_what_is_new(pebble: LlamaCpp) -> None:
    asked = request(pebble, STORY, 16, **GREEDY)
    answer = pebble.detokenize(alone(pebble, asked)).decode()
    turn = request(pebble, STORY + answer + "<|end|><|user|>And then?<|end|><|assistant|>", 4)
    alone(pebble, turn)
    assert turn.usage.reused_tokens >= len(asked.tokens) + 12


def test_more_than_there_is_room_for_wait_and_all_finish(binding: LlamaCpp) -> None:
    settings = {"n_ctx": 256, "n_cells": 512, "n_threads": 1}
    binding.load(Model("pebble", PEBBLE, settings))
    asked = [request(binding, p, 200, ignore_eos=True, seed=n) for n, p in enumerate(PROMPTS)]
    assert [len(found) for found in together(binding, *asked)] == [200] * len(asked)


@pytest.mark.parametrize("part", range(4))
def test_any_schedule_of_joins_cancels_and_ends_leaves_nothing_behind(
    exact: LlamaCpp, part: int
) -> None:
    """50 schedules a part: no sequence, no cell, and no wrong text."""
    assert exact.engine
    kinds = [
        (prompt, n, {"ignore_eos": True, **(GREEDY if seed is None else {"seed": seed})})
        for prompt, n, seed in zip(
            [*PROMPTS, STORY, STORY + "Once upon"], range(3, 21, 2), [None, 1, 2] * 3, strict=True
        )
    ]
    expected = [alone(exact, request(exact, p, n, **sampling)) for p, n, sampling in kinds]
    for schedule in range(50):
        draw = random.Random(1000 * part + schedule)
        exact.engine.chunk = draw.choice([1, 2, 5, 16, 128])
        open_: list[tuple[int, Iterator[Piece], list[Piece]]] = []
        for _ in range(draw.randrange(5, 40)):
            if len(open_) < exact.slots and draw.random() < 0.4:
                which = draw.randrange(len(kinds))
                prompt, n, sampling = kinds[which]
                open_.append((which, exact.generate(request(exact, prompt, n, **sampling)), []))
            for entry in list(open_):
                which, pieces, found = entry
                if draw.random() < 0.2:
                    continue  # no credit this time
                piece = next(pieces, None)
                cancelled = piece is not None and draw.random() < 0.05
                if piece is not None and not cancelled:
                    found.append(piece)
                    continue
                open_.remove(entry)
                if cancelled:
                    pieces.close()  # type: ignore[attr-defined]
                    assert tokens(found) == expected[which][: len(tokens(found))]
                else:
                    assert tokens(found) == expected[which]
        for which, pieces, found in open_:
            assert tokens(found) == expected[which][: len(tokens(found))]
            pieces.close()  # type: ignore[attr-defined]
        assert exact.engine.running == 0
        if schedule % 10 == 0:
            assert exact.engine.clear_cache() == 0
    exact.engine.chunk = 64
