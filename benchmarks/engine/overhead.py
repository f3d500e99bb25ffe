"""Measure the processor time of a step outside `llama_decode`, and the steps to a cancel.

Runs the worker's pump, outbox and binding in this process. Messages to the link are
encoded on a thread of its own, as in the worker, and discarded. Measures processor time
of the model thread, which excludes the time that other processes take.
"""

import importlib
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.engine.our_servers import GREEDY
from bindings.llama_cpp import LlamaCpp
from protocol.codec import encode
from protocol.messages import Chunks, Finished, Generate, Load, Loaded
from worker.outbox import Outbox
from worker.pump import Pump

PROMPT = "Overhead "

batch: Any = importlib.import_module("bindings.llama_cpp.batch")
"""Its `decode` is replaced by a timed one, so the binding has no code for measuring."""


class InProcessWorker:
    """A worker without a process and socket of its own."""

    def __init__(self, model: Path, settings: dict[str, Any]) -> None:
        self.binding = LlamaCpp()
        self._outbox = Outbox()
        self.pump = Pump(self.binding, self._outbox.put, self._outbox.full)
        self._answered = threading.Condition()
        self._finished: dict[int, Finished] = {}
        self._started: set[int] = set()
        self._loaded = False
        self._decoded = 0
        self._decode = batch.decode
        batch.decode = self._timed_decode
        self._thread = threading.Thread(target=self.pump.run, daemon=True)
        self._thread.start()
        self._link = threading.Thread(target=self._listen, daemon=True)
        self._link.start()
        self.pump.submit(Load(1, "random", str(model), settings))
        self._wait(lambda: self._loaded)

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._outbox.fileno(), select.POLLIN)
        while self._thread.is_alive():
            if not poll.poll(100):
                continue
            self._outbox.lower()
            while message := self._outbox.take():
                encode(message)
                self._receive(message)
            if self._outbox.relieved():
                self.pump.wake()

    def _receive(self, message: Any) -> None:
        started = {chunk.id for chunk in message.chunks} if isinstance(message, Chunks) else set()
        if isinstance(message, Chunks) and started <= self._started:
            return  # the usual step: no thread needs to wake up
        with self._answered:
            self._started |= started
            self._loaded |= isinstance(message, Loaded)
            if isinstance(message, Finished):
                self._finished[message.id] = message
            self._answered.notify_all()

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._answered:
            if not self._answered.wait_for(condition, 120):
                raise SystemExit("the pump does not respond")

    def _timed_decode(self, *arguments: Any) -> Any:
        before = time.thread_time_ns()
        try:
            return self._decode(*arguments)
        finally:
            self._decoded += time.thread_time_ns() - before

    def close(self) -> None:
        batch.decode = self._decode
        self.pump.stop()
        self._thread.join()
        self._link.join()
        self._outbox.close()

    def outside_decode(self, requests: int, tokens: int) -> float:
        """The share of the model thread's time, from the last first token to the first end."""
        assert self._thread.ident
        clock = time.pthread_getcpuclockid(self._thread.ident)
        ids = range(100, 100 + requests)
        self._finished.clear()
        self._started.clear()
        for id in ids:
            self.pump.submit(
                Generate(id, f"{PROMPT}{id}", n_predict=tokens, sampling=GREEDY, credit=tokens)
            )
        self._wait(lambda: len(self._started) == requests)
        start, decoded = time.clock_gettime_ns(clock), self._decoded
        self._wait(lambda: bool(self._finished))
        share = 1 - (self._decoded - decoded) / (time.clock_gettime_ns(clock) - start)
        self._wait(lambda: len(self._finished) == requests)
        return share

    def steps_to_cancel(self) -> int:
        """Steps that begin after a cancel and before its answer, while others generate."""
        assert self.binding.engine
        counters = self.binding.engine.counters
        self._finished.clear()
        self._started.clear()
        for id in (1, 2, 3):
            self.pump.submit(
                Generate(id, f"{PROMPT}{id}", n_predict=300, sampling=GREEDY, credit=300)
            )
        self._wait(lambda: len(self._started) == 3)
        before = counters.steps
        self.pump.cancel(2)
        self._wait(lambda: 2 in self._finished)
        steps = counters.steps - before
        for id in (1, 3):
            self.pump.cancel(id)
        self._wait(lambda: len(self._finished) == 3)
        return steps
