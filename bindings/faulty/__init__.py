"""The `faulty` binding: injects the fault that the prompt names, for tests and operators.

A prompt is the name of a fault, `@` and after how many words it happens, and optionally a
number: `segfault@10`, `exit@0 3`. With `once` at the end it does not happen again when the
generation is resumed in another worker: `kill@25 once`. Any other prompt gets words.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from worker.binding import Binding, BindingError, Model, Piece, Request

from .faults import FAULTS, LOADS

PACE = 0.01
"""Seconds per word of `slow` and before a fault that happens `once`, and per turn of `think`."""


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A parsed prompt."""

    fault: str
    after: int
    number: int
    once: bool

    @classmethod
    def of(cls, prompt: str, default_after: int) -> Self:
        """Raise BindingError for a fault whose numbers cannot be parsed."""
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
    """Per answer, unless a fault happens or the request wants fewer."""

    def load(self, model: Model) -> None:
        if fault := LOADS.get(model.name):
            fault()

    def generate(self, request: Request) -> Iterator[Piece]:
        spec = FaultSpec.of(request.prompt, 3)
        fault = FAULTS.get(spec.fault)
        if request.resume and spec.once:
            fault = None
        if spec.fault == "think":
            yield from _think(spec.number)
        for n in range(self._length(spec, request)):
            if n == spec.after and fault:
                fault(spec.number)
            # Slowly, so that the words are sent before the process dies: a resume needs them.
            paced = spec.fault == "slow" or (spec.once and not request.resume)
            if paced and n >= len(request.resume):
                time.sleep(PACE)
            yield Piece(f"word{n} ", (n,))
        if fault and self._length(spec, request) <= spec.after:
            fault(spec.number)

    def _length(self, spec: FaultSpec, request: Request) -> int:
        """`slow` generates all that the request allows."""
        if spec.fault == "slow":
            return request.n_predict
        return min(self.words, request.n_predict)


def _think(seconds: int) -> Iterator[Piece]:
    """Progress without words, as during a long prefill."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(PACE)
        yield Piece()


binding = Faulty
