"""How does Pebble calculate and count? By counting on aloud, also for unseen pairs."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, ends_in_number, lists_exactly
from embedded_model.text.split import Split, draw, wordings

_SUM = wordings("numbers", "sum")
_DIFFERENCE = wordings("numbers", "difference")
_PRODUCT = wordings("numbers", "product")
_COUNT = wordings("numbers", "count")


def _pair(sign: str, a: int, b: int) -> str:
    return f"{min(a, b)}{sign}{max(a, b)}"


def _steps(start: int, by: int, count: int) -> str:
    sign = "+" if by > 0 else "-"
    return ", ".join(f"{sign}{i} is {start + by * i}" for i in range(1, count + 1))


def explain_sum(a: int, b: int) -> str:
    """Count on from the larger number."""
    small, large = sorted((a, b))
    steps = f"{_steps(large, 1, small)}. " if small else ""
    return f"From {large}: {steps}{a} + {b} = {a + b}." if small else f"{a} + {b} = {a + b}."


def explain_difference(a: int, b: int) -> str:
    """Count down the smaller way, or up from the number that is taken away."""
    if b == 0 or a == b:
        return f"{a} - {b} = {a - b}."
    if b <= a - b:
        return f"From {a}: {_steps(a, -1, b)}. {a} - {b} = {a - b}."
    return f"From {b} to {a}: {_steps(b, 1, a - b)}. {a} - {b} = {a - b}."


def explain_product(a: int, b: int) -> str:
    """Say the table of the larger number."""
    small, large = sorted((a, b))
    if small < 2:
        return f"{a} x {b} = {a * b}."
    steps = ", ".join(f"{i} x {large} is {i * large}" for i in range(1, small + 1))
    return f"{steps}. {a} x {b} = {a * b}."


def total(rng: Random, split: Split) -> Exchange:
    """What is 7 + 5? Sums up to 20; a pair is held out in both orders."""

    def make() -> tuple[int, int]:
        a = rng.randint(0, 20)
        return a, rng.randint(0, 20 - a)

    a, b = draw(make, lambda p: _pair("+", *p), split)
    question = _SUM.pick(rng, split).format(a=a, b=b)
    return Exchange("sums", question, explain_sum(a, b), ends_in_number(a + b))


def difference(rng: Random, split: Split) -> Exchange:
    """What is 12 - 5? Numbers up to 20."""

    def make() -> tuple[int, int]:
        a = rng.randint(0, 20)
        return a, rng.randint(0, a)

    a, b = draw(make, lambda p: f"{p[0]}-{p[1]}", split)
    question = _DIFFERENCE.pick(rng, split).format(a=a, b=b)
    return Exchange("differences", question, explain_difference(a, b), ends_in_number(a - b))


def product(rng: Random, split: Split) -> Exchange:
    """What is 6 x 7? Factors up to 10. Squares are never held out: every table is seen whole."""

    def make() -> tuple[int, int]:
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
