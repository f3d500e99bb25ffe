"""A question with its answer, and functions that judge a model's answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Judge = Callable[[str], bool]


@dataclass(frozen=True)
class Exchange:
    """A question, the answer to learn, and the judge of another answer."""

    task: str
    question: str
    answer: str
    judge: Judge
    exact_case: bool = (
        False  # the answer copies letters of the question, so their case must not change
    )


def squeeze(text: str) -> str:
    """Lower case, one space between words: the form in which judges compare."""
    return " ".join(text.lower().split())


def says(*needles: str) -> Judge:
    """The answer contains all of these as whole words, in any case."""
    patterns = [re.compile(rf"(?<!\w){re.escape(squeeze(n))}(?!\w)") for n in needles]
    return lambda answer: all(p.search(squeeze(answer)) for p in patterns)


def says_any(*needles: str) -> Judge:
    """The answer contains at least one of these."""
    return lambda answer: any(says(n)(answer) for n in needles)


def shows(*needles: str) -> Judge:
    """The answer contains all of these unchanged: emoji and other scripts have no word bounds."""
    return lambda answer: all(n in answer for n in needles)


def ends_in_number(value: int) -> Judge:
    """The last number of the answer is this one."""

    def judge(answer: str) -> bool:
        numbers = re.findall(r"\d+", answer)
        return bool(numbers) and int(numbers[-1]) == value

    return judge


def lists_exactly(numbers: list[int]) -> Judge:
    """The numbers of the answer are these, in this order, and no others."""
    return lambda answer: [int(n) for n in re.findall(r"\d+", answer)] == numbers
