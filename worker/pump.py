"""The loop of the model thread: start requests in order, advance generations in turn.

Requests start in the order of arrival. Each pass advances every open generation that
has credit by one piece, and sends the output of all of them together. Between two passes
at most one piece of one unary request is computed. An exception in the binding fails one
request; only the death of the process fails the others.
"""

import logging
import queue
from collections import deque
from collections.abc import Callable, Iterator
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
from worker.progress import PromptReports
from worker.unary_jobs import UnaryJob, UnaryJobs
from worker.unary_requests import UnaryRequest, UnaryRequests, failure

log = logging.getLogger(__name__)

Work = Generate | UnaryRequest
Output = list[Chunk | Message]


Job = Generation | UnaryJob


class Pump:
    def __init__(
        self,
        binding: Binding,
        send: Callable[[Output], None],
        congested: Callable[[], bool] = lambda: False,
        models: Path | None = None,
    ) -> None:
        """`send` takes output for the gateway. While `congested`, generations do not advance.
        `models` is the folder of model files, if it is not the gateway's."""
        self._passes = 0
        self._binding = binding
        self._requests = UnaryRequests(binding, self._tick, send, models)
        self._unary = UnaryJobs(self._requests)
        self._send = send
        self._congested = congested
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: deque[Job] = deque()  # taken from the inbox, not started
        self._open: list[Generation] = []
        self._prompts = PromptReports()
        self._fresh = 0  # the last ones of `_open`, not yet advanced
        self._jobs: dict[int, Job] = {}  # submitted, not answered
        self._busy = False
        self._stopping = False

    # Called from the link thread.

    def submit(self, work: Work) -> None:
        """Raise ProtocolError if a request with this id has not been answered yet."""
        if work.id in self._jobs:
            raise ProtocolError(f"duplicate request id {work.id}")
        job = Generation(work) if isinstance(work, Generate) else UnaryJob(work)
        self._jobs[work.id] = job
        self._inbox.put(job)

    def grant(self, id: int, tokens: int) -> None:
        job = self._jobs.get(id)
        if isinstance(job, Generation):
            job.granted += tokens
            self.wake()

    def cancel(self, id: int) -> bool:
        """Safe before, during and after the request runs; False if the id is not known."""
        job = self._jobs.get(id)
        if job:
            self._cancel(job)
            self.wake()
        return job is not None

    def cancel_all(self) -> None:
        for job in list(self._jobs.values()):
            self._cancel(job)
        self.wake()

    def stop(self) -> None:
        """Cancel everything and make `run` return."""
        self._stopping = True
        self.cancel_all()

    def wake(self) -> None:
        """Make the model thread check for credit, room in the outbox, and cancels."""
        self._inbox.put(None)

    @property
    def active(self) -> int:
        """Requests that keep the model thread busy; 0 while it waits."""
        return len(self._jobs) if self._busy else 0

    @property
    def requests(self) -> list[int]:
        """Ids of the requests that were submitted and are not answered."""
        return list(self._jobs)

    @property
    def model(self) -> str:
        """Name of the loaded model; "" if there is none."""
        return self._requests.model

    @property
    def mapped(self) -> int:
        """Bytes of files that the loaded model maps."""
        return self._requests.mapped

    @property
    def steps(self) -> int:
        """Passes so far, calls of `progress` during loads, and the progress inside native calls.
        The model thread is alive as long as this changes."""
        try:
            return self._passes + self._binding.progress()
        except Exception:
            log.exception("error in the binding's progress()")
            return self._passes

    def _cancel(self, job: Job) -> None:
        if job.cancelled:
            return
        job.cancelled = True
        if isinstance(job, Generation) and job.request:
            try:
                self._binding.interrupt(job.request)
            except Exception:
                log.exception("request %d: error in the binding's interrupt()", job.id)

    # On the model thread.

    def run(self) -> None:
        """Run until `stop`."""
        advanced = False
        while not self._stopping:
            if not advanced:
                self._rest()
            if not advanced or not self._inbox.empty():
                self._take(wait=not advanced)
            advanced = self._turn()
        self._take(wait=False)
        self._turn()
        self._advance_unary()
        self._binding.close()

    def _turn(self) -> bool:
        """Start requests, one pass over the generations, one piece of a unary request. Return
        whether anything could advance."""
        self._start_jobs()
        advanced = self._pass()
        if self._prompts and (reports := self._prompts.take(self._open)):
            self._send(reports)
        if self._unary:
            self._advance_unary()
            advanced = True
        return advanced

    def _rest(self) -> None:
        try:
            while self._inbox.empty() and self._binding.rest():
                self._tick()
        except Exception:
            log.exception("error in the binding's rest()")

    def _tick(self) -> None:
        self._passes += 1

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

    def _start_jobs(self) -> None:
        """Start waiting requests in their order, as long as there are free slots."""
        while self._waiting and self._next_fits():
            job = self._waiting.popleft()
            if job.cancelled:
                self._answer(job, _cancelled(job))
            elif isinstance(job, Generation):
                self._open_generation(job)
            else:
                self._unary.add(job)
                if isinstance(job.message, Load):  # nothing else runs
                    self._advance_unary()
        if self._waiting:
            self._answer_cancelled()

    def _next_fits(self) -> bool:
        job = self._waiting[0]
        if job.cancelled:
            return True
        if isinstance(job, Generation):
            return len(self._open) < max(1, self._binding.slots)
        return not (isinstance(job.message, Load) and (self._open or self._unary))

    def _answer_cancelled(self) -> None:
        """Answer cancelled requests at once, without waiting for a slot."""
        for job in [job for job in self._waiting if job.cancelled]:
            self._waiting.remove(job)
            self._answer(job, _cancelled(job))

    def _advance_unary(self) -> None:
        """One piece of one unary request."""
        for job in self._unary.take_cancelled():
            self._answer(job, _cancelled(job))
        if self._unary and (done := self._unary.advance()):
            self._answer(*done)

    def _open_generation(self, generation: Generation) -> None:
        if not self.model:
            failed = Failed(generation.id, ErrorCode.NO_MODEL, "no model is loaded")
            return self._answer(generation, failed)
        try:
            generation.open(self._binding)
        except Exception as error:  # noqa: BLE001 - failure() logs it
            self._answer(generation, failure(generation.id, error))
        else:
            self._open.append(generation)
            self._fresh += 1
            if generation.message.progress:
                self._prompts.add(generation)

    def _pass(self) -> bool:
        """Advance each open generation by one piece. Return whether any could advance."""
        output: Output = []
        ended: list[Generation] = []
        congested = self._congested()
        advanced = False
        try:
            for generation in self._new_ones_first(ended) if self._fresh else self._open:
                if generation.cancelled or (
                    generation.spent < generation.granted and not congested
                ):
                    advanced = True
                    if end := self._advance(generation, output):
                        output.append(end)
                        ended.append(generation)
        finally:  # even if the process is about to die: send the output that there is
            for generation in ended:
                self._open.remove(generation)
                del self._jobs[generation.id]
            if output:
                self._send(output)
        self._tick()
        return advanced

    def _new_ones_first(self, ended: list[Generation]) -> Iterator[Generation]:
        """The turns of a pass with new generations.

        One that has only joined a batch has another turn, after the others: its prompt is
        in the step that they compute now, and its first token need not wait for the next.
        """
        fresh = self._open[-self._fresh :]
        self._fresh = 0
        yield from fresh
        for generation in self._open:
            if generation not in fresh or not (generation.tokens or generation in ended):
                yield generation

    def _advance(self, generation: Generation, output: Output) -> Message | None:
        try:
            end: Message | None = generation.advance(output)
        except Exception as error:  # noqa: BLE001 - failure() logs it
            end = failure(generation.id, error)
            if generation.cancelled:  # the interruption caused the error
                end = generation.finished(FinishReason.CANCELLED)
        if end:
            try:
                generation.close()
            except Exception:
                log.exception("request %d: error while closing the generation", generation.id)
        return end

    def _answer(self, job: Job, answer: Message) -> None:
        del self._jobs[job.id]
        self._send([answer])


def _cancelled(job: Job) -> Finished:
    return Finished(job.id, FinishReason.CANCELLED, 0)
