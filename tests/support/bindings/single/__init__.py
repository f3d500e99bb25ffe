"""A binding with one slot and a word every 10 ms, for tests of queues."""

import time
from collections.abc import Iterator

from worker.binding import Binding, BindingError, Model, ModelNotFound, Piece, Request


class Single(Binding):
    model = ""

    def load(self, model: Model) -> None:
        if model.name == "broken":
            raise BindingError("the file is broken at byte 17")
        if model.name not in ("one", "two"):
            raise ModelNotFound(f"there is no {model.name}")
        self.model = model.name
        self.context_size = int(model.settings.get("n_ctx", 0))

    def generate(self, request: Request) -> Iterator[Piece]:
        for n in range(request.n_predict):
            time.sleep(0.01)
            yield Piece(f"{self.model}{n} ", (n,))


binding = Single
