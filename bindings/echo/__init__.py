"""The `echo` binding: repeats the prompt, or generates words at a known rate; no model."""

import re
import time
from collections.abc import Iterator
from random import Random

from worker.binding import Binding, Model, ModelNotFound, Piece, Request

PIECES = [Piece(f"{w} ", (n,)) for n, w in enumerate(("lorem", "ipsum", "dolor", "sit", "amet"))]


class Echo(Binding):
    slots, resumable = 64, True

    def load(self, model: Model) -> None:
        if model.name not in ("echo", "lorem", "lorem-10ms"):
            raise ModelNotFound(f"echo has no model named {model.name!r}")
        self.model, self.pace = model.name, 0.01 if model.name == "lorem-10ms" else 0.0

    def generate(self, request: Request) -> Iterator[Piece]:
        if self.model == "echo":
            return (yield from (Piece(w[0]) for w in re.finditer(r"\s*\S+|\s+", request.prompt)))
        seed, known = request.sampling.seed, len(request.resume)
        draw = Random(request.prompt if seed < 0 else seed).random  # a resumed run draws the same
        tick = time.monotonic() // (self.pace or 1) - known  # equal for all: they share sleeps
        for number in range(request.n_predict):
            if self.pace and number >= known:
                yield Piece()  # all that are due get a turn before the sleep
                time.sleep(max(0.0, (tick + number + 1) * self.pace - time.monotonic()))
            yield PIECES[int(draw() * len(PIECES))]


binding = Echo
