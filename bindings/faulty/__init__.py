"""What goes wrong? What the prompt says: for tests, and for operators who want to see it.

A prompt is the name of a fault, `@` and after how many words it happens, and perhaps a number:
`segfault@10`, `exit@0 3`. With `once` at its end it happens in the first life of a generation
only, so that it can be seen to go on in the next: `kill@25 once`. Any other prompt gets words.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from worker.binding import Binding, BindingError, Model, Piece, Request

from .faults import FAULTS, LOADS

PACE = 0.01
"""Seconds a word of `slow`, or before a fault that happens `once`, and a turn of `think` take."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a prompt asks for."""

    fault: str
    after: int
    number: int
    once: bool

    @classmethod
    def of(cls, prompt: str, default_after: int) -> Self:
        """Raise BindingError for a fault whose numbers cannot be read."""
        first, *rest = prompt.split() or [""]
        fault, _, after = first.partition("@")
        once = rest[-1:] == ["once"]
        number = rest[0] if rest[: len(rest) - once] else "1"
        try:
            return cls(fault, int(after or default_after), int(number), once)
        except ValueError:
            if fault in FAULTS:
                raise BindingError(
                    f"a fault is written as in {fault}@3 1 once, not {prompt[:64]!r}"
                ) from None
            return cls("", 0, 0, False)


class Faulty(Binding):
    slots = 8
    resumable = True
    words = 100
    """Of an answer, if nothing goes wrong and nobody wants fewer."""

    def load(self, model: Model) -> None:
        if fault := LOADS.get(model.name):
            fault()

    def generate(self, request: Request) -> Iterator[Piece]:
        order = Order.of(request.prompt, 3)
        fault = FAULTS.get(order.fault)
        if request.resume and order.once:
            fault = None
        if order.fault == "think":
            yield from _think(order.number)
        for n in range(self._length(order, request)):
            if n == order.after and fault:
                fault(order.number)
            # What has not left a process when it dies was never there: nothing to go on from.
            paced = order.fault == "slow" or (order.once and not request.resume)
            if paced and n >= len(request.resume):
                time.sleep(PACE)
            yield Piece(f"word{n} ", (n,))
        if fault and self._length(order, request) <= order.after:
            fault(order.number)

    def _length(self, order: Order, request: Request) -> int:
        """`slow` says as much as it may."""
        if order.fault == "slow":
            return request.n_predict
        return min(self.words, request.n_predict)


def _think(seconds: int) -> Iterator[Piece]:
    """As a long prompt does: no word, but progress."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(PACE)
        yield Piece()


binding = Faulty
