"""Arithmetic and counting, answered by counting aloud, also for unseen pairs."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from embedded_model.text.exchange import Exchange, ends_in_number, lists_exactly
from embedded_model.text.split import Split, draw, wordings

_SUM = wordings("numbers", "sum")
_DIFFERENCE = wordings("numbers", "difference")
_PRODUCT = wordings("numbers", "product")
_COUNT = wordings("numbers", "count")


def _pair(sign: str, a: int, b: int) -> str:
    return f"{min(a, b)}{sign}{max(a, b)}"


@dataclass(frozen=True)
class Language:
    """The words around the numbers of a calculation."""

    start: str
    climb: str
    equal: str
    result: str


ENGLISH = Language("from {}", "from {} to {}", "is", "The answer is {}.")
FRENCH = Language("de {}", "de {} à {}", "font", "La réponse est {}.")


def _aloud(task: str, way: str, steps: list[str], result: int, language: Language) -> str:
    """The exercise again, then the steps, so that each step is close to what it depends on."""
    answer = language.result.format(result)
    if not steps:
        return f"{task}: {answer}"
    return f"{task}: {way}{', '.join(steps)}. {answer}"


def explain_sum(a: int, b: int, language: Language = ENGLISH) -> str:
    """Count on from the larger number."""
    b, a = sorted((a, b))
    steps = [f"+{i} {language.equal} {a + i}" for i in range(1, b + 1)]
    return _aloud(f"{a} + {b}", language.start.format(a) + ", ", steps, a + b, language)


def explain_difference(a: int, b: int, language: Language = ENGLISH) -> str:
    """Count down the smaller way, or up from the number that is taken away."""
    if b in (0, a):
        way, steps = "", list[str]()
    elif b <= a - b:
        way = language.start.format(a)
        steps = [f"-{i} {language.equal} {a - i}" for i in range(1, b + 1)]
    else:
        way = language.climb.format(b, a)
        steps = [f"+{i} {language.equal} {b + i}" for i in range(1, a - b + 1)]
    return _aloud(f"{a} - {b}", way + ", ", steps, a - b, language)


def explain_product(a: int, b: int, language: Language = ENGLISH) -> str:
    """Recite the multiplication table of the larger number."""
    a, b = sorted((a, b))
    steps = [f"{i} x {b} {language.equal} {i * b}" for i in range(1, a + 1)] if a > 1 else []
    return _aloud(f"{a} x {b}", "", steps, a * b, language)


def _wide(rng: Random, split: Split) -> bool:
    """Half of training extends to 100, so that numbers are copied and not memorised."""
    return split == "train" and rng.random() < 0.5


def total(rng: Random, split: Split) -> Exchange:
    """What is 7 + 5? Sums up to 20; a pair is held out in both orders."""
    wide = _wide(rng, split)

    def make() -> tuple[int, int]:
        if wide:
            small = rng.randint(0, 12)
            pair = (rng.randint(small, 100 - small), small)
            return pair if rng.random() < 0.5 else pair[::-1]
        a = rng.randint(0, 20)
        return a, rng.randint(0, 20 - a)

    a, b = draw(make, lambda p: _pair("+", *p), split)
    question = _SUM.pick(rng, split).format(a=a, b=b)
    return Exchange("sums", question, explain_sum(a, b), ends_in_number(a + b))


def difference(rng: Random, split: Split) -> Exchange:
    """What is 12 - 5? Numbers up to 20."""
    wide = _wide(rng, split)

    def make() -> tuple[int, int]:
        if wide:
            a, small = rng.randint(12, 100), rng.randint(0, 12)
            return (a, small) if rng.random() < 0.5 else (a, a - small)
        a = rng.randint(0, 20)
        return a, rng.randint(0, a)

    a, b = draw(make, lambda p: f"{p[0]}-{p[1]}", split)
    question = _DIFFERENCE.pick(rng, split).format(a=a, b=b)
    return Exchange("differences", question, explain_difference(a, b), ends_in_number(a - b))


def product(rng: Random, split: Split) -> Exchange:
    """What is 6 x 7? Factors up to 10. Squares are never held out: every table is seen whole."""
    wide = _wide(rng, split)

    def make() -> tuple[int, int]:
        if wide:
            large = rng.randint(11, 33)
            pair = (large, rng.randint(0, min(10, 100 // large)))
            return pair if rng.random() < 0.5 else pair[::-1]
        return rng.randint(0, 10), rng.randint(0, 10)

    def key(pair: tuple[int, int]) -> str:
        return _pair("x", *pair) if pair[0] != pair[1] else "square"

    a, b = draw(make, key, split)
    question = _PRODUCT.pick(rng, split).format(a=a, b=b)
    return Exchange("products", question, explain_product(a, b), ends_in_number(a * b))


def count(rng: Random, split: Split) -> Exchange:
    """Count from 3 to 9; up to 100, at most twenty numbers."""

    def make() -> tuple[int, int]:
        start = rng.randint(0, 12) if rng.random() < 0.5 else rng.randint(0, 95)
        return start, min(100, start + rng.randint(2, 19))

    a, b = draw(make, lambda p: f"{p[0]}..{p[1]}", split)
    numbers = list(range(a, b + 1))
    question = _COUNT.pick(rng, split).format(a=a, b=b)
    return Exchange(
        "counting", question, ", ".join(map(str, numbers)) + ".", lists_exactly(numbers)
    )
