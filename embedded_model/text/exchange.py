"""What is one question with its answer? And how is a model's answer judged?"""

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
    exact_case: bool = False  # the question must keep its letters as they are: they are copied


def squeeze(text: str) -> str:
    """Lower case, one space between words: what judges compare."""
    return " ".join(text.lower().split())


def says(*needles: str) -> Judge:
    """The answer has all of these, in any case, not as parts of longer words."""
    patterns = [re.compile(rf"(?<!\w){re.escape(squeeze(n))}(?!\w)") for n in needles]
    return lambda answer: all(p.search(squeeze(answer)) for p in patterns)


def says_any(*needles: str) -> Judge:
    """The answer has at least one of these."""
    return lambda answer: any(says(n)(answer) for n in needles)


def shows(*needles: str) -> Judge:
    """The answer has all of these as they are: emoji and other scripts have no words to bound."""
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
