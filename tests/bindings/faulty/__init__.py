"""Its prompt says what goes wrong, after three words: `segfault`, `exit 3`, `raise`, …"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

from worker.binding import Binding, BindingError, Model, Piece, Request


class Faulty(Binding):
    slots = 8

    def load(self, model: Model) -> None:
        if model.name == "deadly":
            os.abort()

    def generate(self, request: Request) -> Iterator[Piece]:
        fault, _, argument = request.prompt.partition(" ")
        marker = argument if fault == "once" else ""
        if fault == "early" or (marker and not os.path.exists(marker)):
            if marker:
                open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        for n in range(min(3, request.n_predict)):
            yield Piece(f"word{n} ", (n,))
        if fault == "segfault":
            print("about to read address 0", file=sys.stderr, flush=True)
            ctypes.string_at(0)
        elif fault == "exit":
            os._exit(int(argument))
        elif fault == "sysexit":
            sys.exit(int(argument))
        elif fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "raise":
            raise ValueError("a mistake in the binding")
        elif fault == "complain":
            raise BindingError("this prompt is not to my taste")
        elif fault == "loop":
            while True:
                pass
        elif fault == "hang":
            time.sleep(3600)
        elif fault == "slow":
            for n in range(3, request.n_predict):
                time.sleep(0.01)
                yield Piece(f"word{n} ", (n,))


binding = Faulty
