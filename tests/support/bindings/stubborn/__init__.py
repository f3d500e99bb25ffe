"""The binding `faulty` with short answers that another worker cannot resume."""

import os
import signal
from collections.abc import Iterator

from bindings.faulty import Faulty
from worker.binding import Piece, Request


class Stubborn(Faulty):
    resumable = False
    words = 3

    def generate(self, request: Request) -> Iterator[Piece]:
        fault, _, marker = request.prompt.partition(" ")
        if fault == "first" and not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().generate(request)


binding = Stubborn
