"""In which order does the model thread work?

Requests are taken in the order in which they came. Then one pass after the
other: each open generation that has credit is advanced by one piece, and what
they brought goes out together. A binding that raises fails one request; only a
process that dies takes the others with it.
"""

import logging
import queue
from collections import deque
from collections.abc import Callable
from pathlib import Path

from protocol.errors import ErrorCode, ProtocolError
from protocol.messages import (
    Chunk,
    Failed,
    Finished,
    FinishReason,
    Generate,
    Load,
    Message,
)
from worker.binding import Binding
from worker.generation import Generation
from worker.unary_requests import Errand as Asked
from worker.unary_requests import Errands, failure

log = logging.getLogger(__name__)

Work = Generate | Asked
Said = list[Chunk | Message]


class Errand:
    """Load, Tokenize, Detokenize or Embed: done in one go."""

    __slots__ = ("cancelled", "id", "message")

    def __init__(self, message: Asked) -> None:
        self.id = message.id
        self.message = message
        self.cancelled = False


Job = Generation | Errand


class Pump:
    def __init__(
        self,
        binding: Binding,
        say: Callable[[Said], None],
        congested: Callable[[], bool] = lambda: False,
        models: Path | None = None,
    ) -> None:
        """`say` takes what goes to the gateway; nothing is advanced while `congested`. `models`
        is where model files are, when they are not where the gateway has them."""
        self.steps = 0
        """Passes so far, and signs of life while it loads: as long as they grow, the model
        thread is alive."""
        self._binding = binding
        self._errands = Errands(binding, self._tick, models)
        self._say = say
        self._congested = congested
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: deque[Job] = deque()  # taken from the inbox, not begun
        self._open: list[Generation] = []
        self._jobs: dict[int, Job] = {}  # accepted, not answered
        self._busy = False
        self._stopping = False

    # From the link thread.

    def submit(self, work: Work) -> None:
        """Raise ProtocolError for a request that is there already."""
        if work.id in self._jobs:
            raise ProtocolError(f"request {work.id} is here already")
        job = Generation(work) if isinstance(work, Generate) else Errand(work)
        self._jobs[work.id] = job
        self._inbox.put(job)

    def grant(self, id: int, tokens: int) -> None:
        job = self._jobs.get(id)
        if isinstance(job, Generation):
            job.granted += tokens
            self.wake()

    def cancel(self, id: int) -> None:
        """Safe before, during and after the work; a late one does nothing."""
        if job := self._jobs.get(id):
            self._cancel(job)
            self.wake()

    def cancel_all(self) -> None:
        for job in list(self._jobs.values()):
            self._cancel(job)
        self.wake()

    def stop(self) -> None:
        """Cancel everything; `run` returns."""
        self._stopping = True
        self.cancel_all()

    def wake(self) -> None:
        """Look again: credit, room or a cancel came."""
        self._inbox.put(None)

    @property
    def active(self) -> int:
        """Requests that keep the model thread busy now: 0 while it waits."""
        return len(self._jobs) if self._busy else 0

    @property
    def model(self) -> str:
        """What is loaded; "" is nothing."""
        return self._errands.model

    def _cancel(self, job: Job) -> None:
        if job.cancelled:
            return
        job.cancelled = True
        if isinstance(job, Generation) and job.request:
            try:
                self._binding.interrupt(job.request)
            except Exception:
                log.exception("request %d: the binding could not interrupt it", job.id)

    # The model thread.

    def run(self) -> None:
        """Work until `stop`."""
        advanced = False
        while not self._stopping:
            if not advanced:
                self._rest()
            if not advanced or not self._inbox.empty():
                self._take(wait=not advanced)
            self._begin()
            advanced = self._pass()
        self._take(wait=False)
        self._begin()
        self._pass()
        self._binding.close()

    def _rest(self) -> None:
        try:
            while self._inbox.empty() and self._binding.rest():
                self._tick()
        except Exception:
            log.exception("the binding could not tidy up")

    def _tick(self) -> None:
        self.steps += 1

    def _take(self, *, wait: bool) -> None:
        if wait:
            self._busy = False
            job = self._inbox.get()
            self._busy = True
            if job:
                self._waiting.append(job)
        while not self._inbox.empty():
            if job := self._inbox.get():
                self._waiting.append(job)

    def _begin(self) -> None:
        """Begin what came, in its order, as far as the slots reach."""
        while self._waiting and self._next_fits():
            job = self._waiting.popleft()
            if job.cancelled:
                self._answer(job, _cancelled(job))
            elif isinstance(job, Generation):
                self._start(job)
            else:
                self._answer(job, self._errands.run(job.message))
        if self._waiting:
            self._forget_cancelled()

    def _next_fits(self) -> bool:
        job = self._waiting[0]
        if job.cancelled:
            return True
        if isinstance(job, Generation):
            return len(self._open) < max(1, self._binding.slots)
        return not (self._open and isinstance(job.message, Load))

    def _forget_cancelled(self) -> None:
        """A cancel does not wait for a slot."""
        for job in [job for job in self._waiting if job.cancelled]:
            self._waiting.remove(job)
            self._answer(job, _cancelled(job))

    def _start(self, generation: Generation) -> None:
        if not self.model:
            why = Failed(generation.id, ErrorCode.NO_MODEL, "no model is loaded")
            return self._answer(generation, why)
        try:
            generation.open(self._binding)
        except Exception as error:  # noqa: BLE001 - failure() logs it
            self._answer(generation, failure(generation.id, error))
        else:
            self._open.append(generation)

    def _pass(self) -> bool:
        """Advance each open generation by one piece; whether there was one to advance."""
        said: Said = []
        ended: list[Generation] = []
        congested = self._congested()
        advanced = False
        try:
            for generation in self._open:
                if generation.cancelled or (
                    generation.spent < generation.granted and not congested
                ):
                    advanced = True
                    if end := self._advance(generation, said):
                        said.append(end)
                        ended.append(generation)
        finally:  # also when the process is about to die: these may be its last words
            for generation in ended:
                self._open.remove(generation)
                del self._jobs[generation.id]
            if said:
                self._say(said)
        self._tick()
        return advanced

    def _advance(self, generation: Generation, said: Said) -> Message | None:
        try:
            end: Message | None = generation.advance(said)
        except Exception as error:  # noqa: BLE001 - failure() logs it
            end = failure(generation.id, error)
            if generation.cancelled:  # it was interrupted, and that is how it ended
                end = generation.finished(FinishReason.CANCELLED)
        if end:
            try:
                generation.close()
            except Exception:
                log.exception("request %d: the binding failed to close it", generation.id)
        return end

    def _answer(self, job: Job, answer: Message) -> None:
        del self._jobs[job.id]
        self._say([answer])


def _cancelled(job: Job) -> Finished:
    return Finished(job.id, FinishReason.CANCELLED, 0)
