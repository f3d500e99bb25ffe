"""What does our own Python take of a step, and how soon does a cancel take hold?

The worker's pump, outbox and binding in this process; what the link would send is
encoded on a thread of its own, as there, and thrown away. Processor time of the
model thread, because a neighbour who takes the processor in between is no
overhead of ours.
"""

import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.engine.our_servers import GREEDY
from bindings.llama_cpp import LlamaCpp
from bindings.llama_cpp import batch as _batch
from protocol.codec import encode
from protocol.messages import Chunks, Finished, Generate, Load, Loaded
from worker.outbox import Outbox
from worker.pump import Pump

PROMPT = "Overhead "

_batching: Any = _batch
"""Its `decode` is timed from outside: the product does not know that it is measured."""


class Pumped:
    """A worker without its process and socket."""

    def __init__(self, model: Path, settings: dict[str, Any]) -> None:
        self.binding = LlamaCpp()
        self._outbox = Outbox()
        self.pump = Pump(self.binding, self._outbox.put, self._outbox.full)
        self._answered = threading.Condition()
        self._finished: dict[int, Finished] = {}
        self._begun: set[int] = set()
        self._loaded = False
        self._decoded = 0
        self._decode = _batching.decode
        _batching.decode = self._timed_decode
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
                self._hear(message)
            if self._outbox.relieved():
                self.pump.wake()

    def _hear(self, message: Any) -> None:
        begun = {chunk.id for chunk in message.chunks} if isinstance(message, Chunks) else set()
        if isinstance(message, Chunks) and begun <= self._begun:
            return  # the usual step: nobody is to be woken
        with self._answered:
            self._begun |= begun
            self._loaded |= isinstance(message, Loaded)
            if isinstance(message, Finished):
                self._finished[message.id] = message
            self._answered.notify_all()

    def _wait(self, condition: Callable[[], bool]) -> None:
        with self._answered:
            if not self._answered.wait_for(condition, 120):
                raise SystemExit("the pump does not answer")

    def _timed_decode(self, *arguments: Any) -> Any:
        before = time.thread_time_ns()
        try:
            return self._decode(*arguments)
        finally:
            self._decoded += time.thread_time_ns() - before

    def close(self) -> None:
        _batching.decode = self._decode
        self.pump.stop()
        self._thread.join()
        self._link.join()
        self._outbox.close()

    def outside_decode(self, requests: int, tokens: int) -> float:
        """The share of the model thread's time, between all first tokens and the first end."""
        assert self._thread.ident
        clock = time.pthread_getcpuclockid(self._thread.ident)
        ids = range(100, 100 + requests)
        self._finished.clear()
        self._begun.clear()
        for id in ids:
            self.pump.submit(
                Generate(id, f"{PROMPT}{id}", n_predict=tokens, sampling=GREEDY, credit=tokens)
            )
        self._wait(lambda: len(self._begun) == requests)
        start, decoded = time.clock_gettime_ns(clock), self._decoded
        self._wait(lambda: bool(self._finished))
        share = 1 - (self._decoded - decoded) / (time.clock_gettime_ns(clock) - start)
        self._wait(lambda: len(self._finished) == requests)
        return share

    def steps_to_cancel(self) -> int:
        """Steps that begin after a cancel and before its answer, others generating."""
        assert self.binding.engine
        counters = self.binding.engine.counters
        self._finished.clear()
        self._begun.clear()
        for id in (1, 2, 3):
            self.pump.submit(
                Generate(id, f"{PROMPT}{id}", n_predict=300, sampling=GREEDY, credit=300)
            )
        self._wait(lambda: len(self._begun) == 3)
        before = counters.steps
        self.pump.cancel(2)
        self._wait(lambda: 2 in self._finished)
        steps = counters.steps - before
        for id in (1, 3):
            self.pump.cancel(id)
        self._wait(lambda: len(self._finished) == 3)
        return steps
