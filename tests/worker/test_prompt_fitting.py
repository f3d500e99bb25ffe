"""Prompt fitting: the oldest blocks are dropped, and there is room for the answer."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.binding import ContextOverflow
from worker.prompt_fitting import FittedPrompt, fit


class Counting:
    """A token a character; remembers what it was asked."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> list[int]:
        self.texts.append(text)
        return [ord(character) for character in text]


def fitted(
    conditioning: str, blocks: list[str], prompt: str, n_predict: int = 25, context_size: int = 100
) -> FittedPrompt:
    return fit(
        blocks, joined(conditioning, blocks, prompt),
        n_predict=n_predict, context_size=context_size, tokenize=Counting(),
    )  # fmt: skip


def joined(conditioning: str, blocks: list[str], prompt: str) -> Callable[[int], str]:
    return lambda dropped: "".join((conditioning, *blocks[dropped:], prompt))


def test_without_a_limit_nothing_is_tokenised() -> None:
    tokenize = Counting()
    blocks = ["b" * 1000]
    text = joined("c", blocks, "p")
    everything = fit(blocks, text, n_predict=9, context_size=0, tokenize=tokenize)
    assert everything == FittedPrompt("c" + "b" * 1000 + "p")
    assert not tokenize.texts


def test_what_fits_costs_one_tokenisation() -> None:
    tokenize = Counting()
    blocks = ["b1", "b2"]
    text = joined("c", blocks, "p")
    whole = fit(blocks, text, n_predict=9, context_size=100, tokenize=tokenize)
    assert whole == FittedPrompt("cb1b2p", tuple(map(ord, "cb1b2p")))
    assert tokenize.texts == ["cb1b2p"]


def test_the_oldest_blocks_go_first_and_conditioning_and_prompt_stay() -> None:
    result = fitted("<c>", [f"{n}" * 10 for n in range(9)], "<p>")
    assert result.text.startswith("<c>") and result.text.endswith("8888888888<p>")
    assert "0" not in result.text
    assert len(result.tokens) <= 75
    assert result.dropped == 96 - len(result.tokens)


def test_a_growing_discussion_keeps_its_beginning_for_several_turns() -> None:
    blocks, beginnings = [], []
    for turn in range(60):
        blocks.append(f"[{turn:02}]....")
        beginnings.append(fitted("<c>", blocks, "<p>").text[:7])
    changes = sum(a != b for a, b in itertools.pairwise(beginnings))
    assert changes <= 60 * 8 / 75 * 4 + 1, "each change makes a binding compute the whole again"
    assert changes >= 10


def test_a_short_answer_needs_little_room() -> None:
    assert fitted("", ["b" * 40], "p" * 55, n_predict=5).dropped == 0
    assert fitted("", ["b" * 40], "p" * 55, n_predict=6).dropped == 40


def test_without_blocks_the_prompt_may_take_the_answers_room() -> None:
    assert len(fitted("c" * 50, [], "p" * 49).tokens) == 99


def test_what_cannot_fit_is_refused_with_both_numbers() -> None:
    with pytest.raises(ContextOverflow, match=r"101 tokens.* 100"):
        fitted("c" * 50, ["b"], "p" * 51)


@given(
    st.text(max_size=40),
    st.lists(st.text(max_size=30), max_size=12),
    st.text(max_size=40),
    st.integers(1, 100),
    st.integers(1, 120),
)
def test_the_result_fits_and_is_a_tail_of_the_discussion(
    conditioning: str, blocks: list[str], prompt: str, n_predict: int, context_size: int
) -> None:
    try:
        result = fitted(conditioning, blocks, prompt, n_predict, context_size)
    except ContextOverflow:
        assert len(conditioning + prompt) >= context_size
        return
    tails = ["".join(blocks[first:]) for first in range(len(blocks) + 1)]
    assert result.text in [conditioning + tail + prompt for tail in tails]
    budget = context_size - max(1, min(n_predict, context_size // 4))
    assert len(result.tokens) <= max(budget, len(conditioning + prompt))
    assert len(result.tokens) < context_size
    whole = conditioning + "".join(blocks) + prompt
    assert result.dropped == len(whole) - len(result.tokens)
    if len(whole) <= budget:
        assert result.text == whole
