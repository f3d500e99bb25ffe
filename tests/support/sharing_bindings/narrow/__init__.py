"""The words of `lorem`, one every 2 ms, in a single slot: for tests of turns."""

import time
from collections.abc import Iterator
from random import Random

from worker.binding import Binding, Model, Piece, Request

WORDS = ("lorem ", "ipsum ", "dolor ", "sit ", "amet ")


class Narrow(Binding):
    resumable = True

    def load(self, model: Model) -> None:
        pass

    def generate(self, request: Request) -> Iterator[Piece]:
        draw = Random(request.sampling.seed).random
        for number in range(request.n_predict):
            if number >= len(request.resume):
                time.sleep(0.002)
            word = int(draw() * len(WORDS))
            yield Piece(WORDS[word], (word,))


binding = Narrow
