"""llama.cpp, but a generation pauses after a chosen token until its worker is killed.

The token is `dry_allowed_length` - 100; llama.cpp ignores that parameter without a
`dry_multiplier`. A resumed generation does not pause.

Many generations pause at the same time, so that one kill is enough for all. But each computes
alone and shares no prefix: in a batch with others, results are rounded differently.
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
        self.engine.step()  # type: ignore  # a sequence with a token to read is left out of the batches of others
        self.turn = None
        while True:
            if not self.turn:
                time.sleep(0.001)
            yield Piece()


binding = Patient
