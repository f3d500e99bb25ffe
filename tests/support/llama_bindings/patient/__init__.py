"""llama.cpp, but an answer waits behind a token of the test's choice until its worker is killed.

`dry_allowed_length` beyond 100 says how far beyond; without a `dry_multiplier` it means
nothing to llama.cpp. What is resumed does not wait.

Many wait at the same time, so that one kill is enough for all. But each computes alone,
and shares no beginning: in other company its numbers are rounded otherwise.
"""

import contextlib
import time
from collections.abc import Iterator

from bindings.llama_cpp import LlamaCpp
from worker.binding import Model, Piece, Request


class Patient(LlamaCpp):
    turn: Request | None = None

    def load(self, model: Model) -> None:
        super().load(model)
        self.engine._most = lambda sequence: 0  # type: ignore

    def generate(self, request: Request) -> Iterator[Piece]:
        while self.turn:
            yield Piece()
        self.turn = request
        until = request.sampling.dry_allowed_length - 100
        came = 0
        try:
            with contextlib.closing(super().generate(request)) as pieces:  # type: ignore
                for piece in pieces:
                    yield piece
                    came += len(piece.tokens)
                    if came == until and not request.resume:
                        yield from self._wait()
        finally:
            if self.turn is request:
                self.turn = None

    def _wait(self) -> Iterator[Piece]:
        self.engine.step()  # type: ignore  # who has a token to take is left out by the others
        self.turn = None
        while True:
            if not self.turn:
                time.sleep(0.001)
            yield Piece()


binding = Patient
