"""The models of `echo` in 16 slots, and one that loads for some seconds, or until there is a
file `go`."""

import tempfile
import time
from pathlib import Path

from bindings.echo import Echo
from worker.binding import Model

PATIENCE = 20.0


class Crowded(Echo):
    slots = 16

    def load(self, model: Model) -> None:
        if model.name != "late":
            return super().load(model)
        go = Path(tempfile.gettempdir()) / "go"
        end = time.monotonic() + float(model.settings.get("load_seconds", PATIENCE))
        while not go.exists() and time.monotonic() < end:
            model.progress(0.5)
            time.sleep(0.02)
        self.model, self.pace = "lorem", 0.0


binding = Crowded
