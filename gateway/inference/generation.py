"""One generation, from its admission to its end."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

from gateway.errors import Busy, LoadFailed, NoWorker, Quarantined, RequestError
from gateway.inference.listener import Listener
from gateway.inference.outcomes import Outcome
from gateway.inference.plan import Plan
from gateway.inference.state import GenerationState
from gateway.observability.metrics import Metrics
from gateway.scheduling.dispatcher import Dispatcher
from gateway.scheduling.quarantine import Quarantine
from gateway.scheduling.quotas import Quota
from gateway.workers.call import Answer, Call
from gateway.workers.fleet import Worker
from gateway.workers.link import Link
from protocol import messages
from protocol.errors import ErrorCode
from protocol.messages import Chunk, FinishReason

log = logging.getLogger(__name__)

MAX_AWAY_CHARACTERS = 200_000
"""Characters that a worker may send while the client is disconnected; then it pauses."""
REPLAY_CHARACTERS = 32_768
"""Maximum characters of a chunk when missed text is sent again."""


class Generation:
    """One accepted request. Its client is a listener, which may be detached and attached
    again: see `gateway.sessions.resumption`."""

    def __init__(self, listener: Listener, metrics: Metrics) -> None:
        self.began = time.monotonic()
        self._metrics = metrics
        self.state = GenerationState(uuid.uuid4().hex[:16])
        self.plan: Plan | None = None
        """While it waits and runs."""
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self._listener: Listener | None = listener
        self._call: Call | None = None
        self._unsent = 0  # tokens whose text was not sent
        self._length_at_detach = 0  # characters
        self._last_chunk_at = 0.0  # when the last chunk came

    def feed(self, call: Call, chunk: Chunk) -> None:
        count = chunk.count
        self._call = call
        state = self.state
        taken = state.take(chunk.text, chunk.tokens, count)
        if state.full:
            return self.interrupt("the worker's answer is too long")
        if not taken:
            return call.grant(count)
        self._unsent += count
        self._measure(count)
        if self._listener:
            self._listener.chunk(self.state.id, chunk.text, count, self._grant)
        elif self.state.length - self._length_at_detach < MAX_AWAY_CHARACTERS:
            self._grant(self._unsent)

    def _grant(self, tokens: int) -> None:
        """Their text was sent: the worker may send so many tokens more."""
        self._unsent -= tokens
        if self._call:
            self._call.grant(tokens)

    def detach(self) -> None:
        """Its client is disconnected and may come back. Text in its send queue is missed."""
        self._listener, self._length_at_detach = None, self.state.length
        self._grant(self._unsent)

    def attach(self, listener: Listener, have: int) -> None:
        """Send to this listener from now on, and first the text after `have` characters."""
        if self._listener:
            self.detach()
        self._listener = listener
        missed = self.state.text[have:]
        for start in range(0, len(missed), REPLAY_CHARACTERS):
            listener.chunk(self.state.id, missed[start : start + REPLAY_CHARACTERS], 0, self._grant)
        self._grant(self._unsent)
        if self.state.outcome:
            listener.ended(self.state.id, self.state.outcome)

    @property
    def bytes(self) -> int:
        """Memory of its texts."""
        return self.state.bytes + (self.plan.bytes if self.plan else 0)

    def release(self) -> None:
        """It has ended: only its text and its end are still needed."""
        self.plan = self._call = None
        self.state.release()

    def _measure(self, tokens: int) -> None:
        now = time.monotonic()
        if not self._last_chunk_at:
            self._metrics.first_token.observe(now - self.began)
        elif tokens > 0:
            self._metrics.between_tokens.observe((now - self._last_chunk_at) / tokens, tokens)
        self._last_chunk_at = now
        self._metrics.generated_tokens += tokens

    def end(self, outcome: Outcome | None) -> None:
        """`outcome` is what a method of `state` returned; None changes nothing."""
        if outcome is None:
            return
        if self._listener:
            self._listener.ended(self.state.id, outcome)
        if not self.ended.done():
            self.ended.set_result(outcome)

    def cancel(self) -> None:
        """End it at once for the client; the worker stops a token later."""
        if self.plan:
            self.plan.remember(self.state.text)
        self.end(self.state.cancel())
        self._stop()

    def abandon(self) -> None:
        """The client is gone."""
        self.end(self.state.abandon())
        self._stop()

    def interrupt(self, why: str) -> None:
        """The server stops it."""
        self.end(self.state.fail(f"the generation was interrupted: {why}"))
        self._stop()

    def _stop(self) -> None:
        if self.task:
            self.task.cancel()


class Generations:
    """Runs generations in workers."""

    def __init__(
        self, dispatcher: Dispatcher, link: Link, quarantine: Quarantine, metrics: Metrics
    ) -> None:
        self._dispatcher = dispatcher
        self._link = link
        self._quarantine = quarantine
        self._metrics = metrics

    def accept(self, listener: Listener) -> Generation:
        return Generation(listener, self._metrics)

    def start(
        self, generation: Generation, planned: Callable[[], Awaitable[Plan]], quota: Quota
    ) -> asyncio.Task[None]:
        """Run it in a task of its own; cancelling that cancels the request in the worker."""
        generation.task = asyncio.create_task(self._run(generation, planned, quota))
        return generation.task

    async def _run(
        self, generation: Generation, planned: Callable[[], Awaitable[Plan]], quota: Quota
    ) -> None:
        state, metrics = generation.state, self._metrics
        try:
            plan = generation.plan = await planned()
            # Prompts are private: they are logged at level DEBUG only.
            log.debug("generation %s: %r", state.id, plan.message(0, [], 0))
            self._check_quarantine(plan)
            async with quota.admit():
                answer = await self._answer(generation, plan)
            if isinstance(answer, messages.Failed):
                generation.end(state.fail(answer.error, answer.code, state.count))
            else:
                self._quarantine.clear(plan.fingerprint)
                plan.remember(state.text)
                generation.end(state.finish(answer))
        except Busy:
            generation.end(state.refuse())
        except Quarantined as error:
            metrics.quarantined += 1
            generation.end(state.fail(str(error), error.code))
        except RequestError as error:
            generation.end(state.fail(str(error)))
        finally:
            generation.end(state.fail("the server made a mistake: see its log"))
            took = time.monotonic() - generation.began
            metrics.duration.observe(took)
            end = state.outcome.label if state.outcome else ""
            metrics.ends[end] += 1
            log.debug("generation %s %s: %d characters in %.2f s",
                      state.id, end, state.length, took)  # fmt: skip
            generation.release()

    def _check_quarantine(self, plan: Plan) -> None:
        """Raise Quarantined; the log says so once for each request."""
        fingerprint = plan.fingerprint
        try:
            self._quarantine.check(fingerprint, time.monotonic())
        except Quarantined as error:
            if self._quarantine.refusals(fingerprint) == 1:
                why = str(error).removeprefix("this request ")
                log.warning("request %s to %s %s", fingerprint.digest, fingerprint.model, why)
            raise

    async def _answer(
        self, generation: Generation, plan: Plan
    ) -> messages.Failed | messages.Finished:
        """Run it in a worker. If that dies, continue in another, from the tokens so far."""
        state = generation.state
        lost: messages.Failed | None = None
        unloaded = False
        while True:
            began = time.monotonic()
            slot = self._dispatcher.slot(plan.binding, plan.model, first=lost is not None)
            try:
                async with slot as worker:
                    self._metrics.queue.observe(time.monotonic() - began)
                    async with self._link.request(
                        worker,
                        lambda id: plan.message(id, state.tokens, state.length),
                        generation.feed,
                        plan.fingerprint,
                    ) as call:
                        answer = self._end(await call.answer, worker)
            except (LoadFailed, NoWorker) as error:
                if lost is None:
                    raise
                return replace(lost, error=f"{lost.error}; nobody could go on with it: {error}")
            match answer:
                case messages.Failed(code=ErrorCode.NO_MODEL) if not unloaded:
                    unloaded = True
                    self._link.fleet.unload(worker)
                case messages.Failed(code=ErrorCode.WORKER_LOST):
                    lost = replace(answer, error=f"{answer.error}; {_so_far(state.count)}")
                    harmless = not self._quarantine.is_quarantined(plan.fingerprint)
                    resumable = plan.resumable and worker.resumable
                    if not (harmless and state.fail_over(resumable=resumable)):
                        return lost
                    self._metrics.continued += 1
                    log.warning("generation %s continues from token %d: %s",
                                state.id, state.count, answer.error)  # fmt: skip
                case _:
                    return answer

    def _end(self, answer: Answer, worker: Worker) -> messages.Failed | messages.Finished:
        if isinstance(answer, messages.Finished) and answer.reason == FinishReason.CANCELLED:
            # The gateway did not cancel it: the process is being stopped.
            self._link.fleet.retire(worker, asyncio.get_running_loop().time())
            how = f"the worker of the binding {worker.binding} was stopped"
            return messages.Failed(answer.id, ErrorCode.WORKER_LOST, how)
        if isinstance(answer, messages.Failed | messages.Finished):
            return answer
        name = type(answer).__name__
        how = f"the worker ended a generation with {name}"
        return messages.Failed(answer.id, ErrorCode.BINDING_ERROR, how)


def _so_far(tokens: int) -> str:
    if not tokens:
        return "nothing of the answer had come"
    return f"{tokens} token{'s' * (tokens > 1)} of the answer had come"
