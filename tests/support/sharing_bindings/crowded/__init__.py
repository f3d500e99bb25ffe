"""The models of `echo` in 32 slots, and one that takes a while to load."""

import time

from bindings.echo import Echo
from worker.binding import Model

LOAD_SECONDS = 3.0


class Crowded(Echo):
    slots = 32

    def load(self, model: Model) -> None:
        if model.name != "late":
            return super().load(model)
        end = time.monotonic() + LOAD_SECONDS
        while (left := end - time.monotonic()) > 0:
            model.progress(1 - left / LOAD_SECONDS)
            time.sleep(0.05)
        self.model, self.pace = "lorem", 0.0


binding = Crowded
