"""How does Pebble calculate and count? By counting on aloud, which works for pairs that it never saw."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, ends_in_number, lists_exactly
from embedded_model.text.split import Split, Wordings, draw

_SUM = Wordings(
    train=(
        "What is {a} + {b}?", "{a} + {b}", "{a} + {b} = ?", "What is {a} plus {b}?", "How much is {a} + {b}?",
        "Add {a} and {b}.", "Calculate {a} + {b}.", "{a}+{b}", "What's {a} plus {b}?", "How much is {a} plus {b}?",
        "What is the sum of {a} and {b}?", "{a} plus {b}?", "{a} + {b} =", "{a}+{b}=?", "Tell me {a} + {b}.",
        "I have {a} apples and get {b} more. How many apples do I have?",
    ),
    held_out=("Can you add {a} and {b}?", "What does {a} + {b} make?", "How much do I get for {a} plus {b}?"),
)  # fmt: skip
_DIFFERENCE = Wordings(
    train=(
        "What is {a} - {b}?", "{a} - {b}", "{a} - {b} = ?", "What is {a} minus {b}?", "How much is {a} - {b}?",
        "Subtract {b} from {a}.", "Calculate {a} - {b}.", "{a}-{b}", "What's {a} minus {b}?", "{a} - {b} =",
        "How much is {a} minus {b}?", "Take {b} away from {a}.", "{a} minus {b}?", "{a}-{b}=?", "Tell me {a} - {b}.",
        "I have {a} apples and give {b} away. How many apples are left?",
    ),
    held_out=("Can you subtract {b} from {a}?", "What does {a} - {b} make?", "How much do I get for {a} minus {b}?"),
)  # fmt: skip
_PRODUCT = Wordings(
    train=(
        "What is {a} x {b}?", "{a} x {b}", "{a} x {b} = ?", "What is {a} times {b}?", "How much is {a} x {b}?",
        "Multiply {a} by {b}.", "Calculate {a} x {b}.", "{a} * {b}", "What's {a} times {b}?", "{a} x {b} =",
        "How much is {a} times {b}?", "What is {a} * {b}?", "{a} times {b}?", "{a}*{b}", "Tell me {a} times {b}.",
        "What is {a} multiplied by {b}?",
    ),
    held_out=("Can you multiply {a} by {b}?", "What does {a} x {b} make?", "How much do I get for {a} times {b}?"),
)  # fmt: skip
_COUNT = Wordings(
    train=(
        "Count from {a} to {b}.", "Count from {a} to {b}", "Please count from {a} to {b}.", "Can you count from {a} to {b}?",
        "Count the numbers from {a} to {b}.", "Count up from {a} to {b}.", "List the numbers from {a} to {b}.",
        "Say the numbers from {a} to {b}.", "count {a} to {b}", "Write the numbers from {a} to {b}.",
        "I want you to count from {a} to {b}.", "Start at {a} and count to {b}.",
    ),
    held_out=("Could you count from {a} to {b} for me?", "Give me the numbers from {a} to {b}.", "Now count from {a} up to {b}."),
)  # fmt: skip


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
    """What is 6 x 7? Factors up to 10; squares are never held out, so that every table is seen whole."""

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
    return Exchange("counting", question, ", ".join(map(str, numbers)) + ".", lists_exactly(numbers))
