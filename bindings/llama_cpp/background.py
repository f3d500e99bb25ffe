"""Run a long native call on a thread of its own, while the model thread does other work."""

import concurrent.futures
from collections.abc import Callable, Generator
from typing import TypeVar

POLL = 0.002
"""Seconds that the model thread waits for the call before it does something else."""

Result = TypeVar("Result")


class Background:
    """One thread, started at the first call. Used from the model thread only."""

    def __init__(self) -> None:
        self._thread: concurrent.futures.ThreadPoolExecutor | None = None

    def run(
        self,
        call: Callable[[], Result],
        alive: Callable[[], bool],
        stop: Callable[[], None] | None = None,
    ) -> Generator[None, None, Result]:
        """Yield until the result of `call` is there, and return it.

        As long as it is not `alive` this waits without yielding, so that a call that hangs
        is a model thread that hangs. A generator that is closed makes the call `stop` and
        waits for its end, or leaves it alone if it cannot be stopped.
        """
        if not self._thread:
            self._thread = concurrent.futures.ThreadPoolExecutor(1, "llama-background")
        future = self._thread.submit(call)
        try:
            while not concurrent.futures.wait((future,), POLL).done:
                if alive():
                    yield
            return future.result()
        finally:
            if stop and not future.done():
                stop()
                concurrent.futures.wait((future,))

    def close(self) -> None:
        """Wait for the calls that still run."""
        if self._thread:
            self._thread.shutdown()
            self._thread = None
