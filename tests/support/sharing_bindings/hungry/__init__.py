"""Models as large as their names say, on a machine that has room for 8, for tests of memory."""

import time
from collections.abc import Iterator

from worker.binding import Binding, BindingError, Model, OutOfMemory, Piece, Request

ROOM = 8


class Hungry(Binding):
    resumable = True

    def load(self, model: Model) -> None:
        size = int(model.name)
        if size > ROOM:
            raise BindingError(f"it needs {size} of {ROOM}")
        if model.mapped + size > ROOM:
            raise OutOfMemory(f"it needs {size} and {ROOM - model.mapped} of {ROOM} are free")
        self.mapped = size

    def generate(self, request: Request) -> Iterator[Piece]:
        for number in range(request.n_predict):
            if number >= len(request.resume):
                time.sleep(0.005)
            yield Piece(f"{number} ", (number,))


binding = Hungry
