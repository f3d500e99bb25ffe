"""How does one generation go, from its admission to its end?"""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from gateway.errors import BadRequest, Busy, LoadFailed, NothingSelected, NoWorker, Quarantined
from gateway.inference.plan import Plan
from gateway.inference.state import Event, Stream
from gateway.observability.metrics import Metrics
from gateway.scheduling.dispatcher import Dispatch
from gateway.scheduling.quotas import Allowance
from gateway.socketio.send_queue import Outlet
from gateway.workers.fleet import Worker
from gateway.workers.link import Answer, Call, Link
from protocol.errors import ErrorCode
from protocol.messages import Chunk, Failed, Finished, FinishReason

log = logging.getLogger(__name__)

UNHEARD = 200_000
"""Characters that may come while its client is away; then the worker pauses."""
PIECE = 32_768
"""Characters of one chunk, at most, of what a client has missed."""


class Generation:
    """One accepted generate_text. Its client hears of it through an outlet only, which may be
    taken away and given again: see `gateway.sessions.resumption`."""

    def __init__(self, outlet: Outlet, metrics: Metrics) -> None:
        self.began = time.monotonic()
        self.metrics = metrics
        self.stream = Stream(uuid.uuid4().hex[:16])
        self.plan: Plan | None = None
        self.ended: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        """What the end event carried; also the acknowledgement."""
        self.task: asyncio.Task[None] | None = None
        self._outlet: Outlet | None = outlet
        self._call: Call | None = None
        self._out = 0  # tokens whose text has not left
        self._alone_since = 0  # characters
        self._ending: list[Event] = []
        self._last = 0.0  # when the last chunk came

    def feed(self, call: Call, chunk: Chunk) -> None:
        count = chunk.count
        self._call = call
        if not self.stream.take(chunk.text, chunk.tokens, count):
            return call.grant(count)
        self._out += count
        self._measure(count)
        if self._outlet:
            self._outlet.chunk(self.stream.id, chunk.text, count, self._left)
        elif self.stream.length - self._alone_since < UNHEARD:
            self._left(self._out)

    def _left(self, tokens: int) -> None:
        """The worker may send so many more."""
        self._out -= tokens
        if self._call:
            self._call.grant(tokens)

    def detach(self) -> None:
        """Its client is away, and may come back: what was on the way to it counts as missed."""
        self._outlet, self._alone_since = None, self.stream.length
        self._left(self._out)

    def attach(self, outlet: Outlet, have: int) -> None:
        """Go on there, behind the `have` characters that the client has."""
        if self._outlet:
            self.detach()
        self._outlet = outlet
        missed = self.stream.text[have:]
        for start in range(0, len(missed), PIECE):
            outlet.chunk(self.stream.id, missed[start : start + PIECE], 0, self._left)
        self._left(self._out)
        for name, data in self._ending:
            outlet.event(name, data)

    def _measure(self, tokens: int) -> None:
        now = time.monotonic()
        if not self._last:
            self.metrics.first_token.observe(now - self.began)
        elif tokens > 0:
            self.metrics.between_tokens.observe((now - self._last) / tokens, tokens)
        self._last = now
        self.metrics.generated_tokens += tokens

    def tell(self, events: list[Event]) -> None:
        self._ending += events
        if self._outlet:
            for name, data in events:
                self._outlet.event(name, data)
        if self.stream.end and not self.ended.done():
            self.ended.set_result(events[-1][1] if events else {})

    def cancel(self) -> None:
        """The client is told at once; the worker stops a token later."""
        if self.plan:
            self.plan.remember(self.stream.text)
        self.tell(self.stream.cancel())
        self._stop()

    def abandon(self) -> None:
        """The client is gone."""
        self.tell(self.stream.abandon())
        self._stop()

    def interrupt(self, why: str) -> None:
        """The server cannot go on with it."""
        self.tell(self.stream.fail(f"the generation was interrupted: {why}"))
        self._stop()

    def _stop(self) -> None:
        if self.task:
            self.task.cancel()


async def run(
    generation: Generation,
    planned: Callable[[], Awaitable[Plan]],
    dispatch: Dispatch,
    link: Link,
    allowance: Allowance,
) -> None:
    """Answer one generate_text. Cancelling the task cancels the request in the worker."""
    stream, metrics = generation.stream, generation.metrics
    try:
        plan = generation.plan = await planned()
        # Prompts are the users' own: in a log only where somebody asked for it.
        log.debug("generation %s: %r", stream.id, plan.message(0, [], 0))
        link.poison.check(plan.fingerprint, time.monotonic())
        async with allowance.place():
            answer = await _answer(generation, plan, dispatch, link)
        if isinstance(answer, Failed):
            generation.tell(stream.fail(answer.error, code=answer.code, tokens=stream.count))
        else:
            link.poison.acquit(plan.fingerprint)
            plan.remember(stream.text)
            generation.tell(stream.finish(**_counts(answer)))
    except Busy:
        generation.tell(stream.refuse())
    except Quarantined as error:
        metrics.poisonous += 1
        generation.tell(stream.fail(str(error), code="poison"))
    except (BadRequest, LoadFailed, NothingSelected, NoWorker) as error:
        generation.tell(stream.fail(str(error)))
    finally:
        generation.tell(stream.fail("the server made a mistake: see its log"))
        took = time.monotonic() - generation.began
        metrics.duration.observe(took)
        metrics.ends[stream.end or ""] += 1
        log.debug("generation %s %s: %d characters in %.2f s",
                  stream.id, stream.end, stream.length, took)  # fmt: skip


async def _answer(
    generation: Generation, plan: Plan, dispatch: Dispatch, link: Link
) -> Failed | Finished:
    """Run it in a worker; and if that one dies, in another, from where its client is."""
    stream = generation.stream
    lost: Failed | None = None
    unloaded = False
    while True:
        asked = time.monotonic()
        try:
            async with dispatch.slot(plan.binding, plan.model, first=lost is not None) as worker:
                generation.metrics.queue.observe(time.monotonic() - asked)
                async with link.request(
                    worker,
                    lambda id: plan.message(id, stream.tokens, stream.length),
                    generation.feed,
                    plan.fingerprint,
                ) as call:
                    answer = _end(await call.answer, worker)
        except (LoadFailed, NoWorker) as error:
            if lost is None:
                raise
            return replace(lost, error=f"{lost.error}; nobody could go on with it: {error}")
        match answer:
            case Failed(code=ErrorCode.NO_MODEL) if not unloaded:
                unloaded, worker.model = True, ""
            case Failed(code=ErrorCode.WORKER_LOST):
                lost = replace(answer, error=f"{answer.error}; {_so_far(stream.count)}")
                harmless = not link.poison.convicts(plan.fingerprint)
                resumable = plan.continues and worker.resumable
                if not (harmless and stream.outlive(resumable=resumable)):
                    return lost
                generation.metrics.continued += 1
                log.warning("generation %s goes on from token %d: %s",
                            stream.id, stream.count, answer.error)  # fmt: skip
            case _:
                return answer


def _so_far(tokens: int) -> str:
    if not tokens:
        return "nothing of the answer had come"
    return f"{tokens} token{'s' * (tokens > 1)} of the answer had come"


def _end(answer: Answer, worker: Worker) -> Failed | Finished:
    if isinstance(answer, Finished) and answer.reason == FinishReason.CANCELLED:
        worker.retiring = True  # nobody here has cancelled it: somebody stops the process
        how = f"the worker of the binding {worker.binding} was stopped"
        return Failed(answer.id, ErrorCode.WORKER_LOST, how)
    if isinstance(answer, Failed | Finished):
        return answer
    name = type(answer).__name__
    return Failed(answer.id, ErrorCode.BINDING_ERROR, f"the worker ended a generation with {name}")


def _counts(answer: Finished) -> dict[str, Any]:
    """What text_generated says beside the text; log probabilities only if they were asked for."""
    logprobs = {"logprobs": [_logprob(place) for place in answer.logprobs]}
    return (logprobs if answer.logprobs else {}) | {
        "reason": answer.reason,
        "tokens": answer.tokens,
        "prompt_tokens": answer.prompt_tokens,
        "reused_tokens": answer.reused_tokens,
        "dropped_tokens": answer.dropped_tokens,
    }


def _logprob(place: list[float]) -> dict[str, Any]:
    """[id, log probability, …] of the chosen token and then of the likeliest there."""
    pairs = [
        {"token": int(token), "logprob": probability if math.isfinite(probability) else None}
        for token, probability in zip(place[::2], place[1::2], strict=False)
        if math.isfinite(token)
    ]
    return {**pairs[0], "top": pairs[1:]} if pairs else {}
