"""The models of `echo` in 16 slots, and one that takes a while to load."""

import time

from bindings.echo import Echo
from worker.binding import Model

LOAD_SECONDS = 3.0


class Crowded(Echo):
    slots = 16

    def load(self, model: Model) -> None:
        if model.name != "late":
            return super().load(model)
        seconds = float(model.settings.get("load_seconds", LOAD_SECONDS))
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            model.progress(1 - left / seconds)
            time.sleep(0.05)
        self.model, self.pace = "lorem", 0.0


binding = Crowded
