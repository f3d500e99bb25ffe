"""Run generations: admission, turns in workers, parking, and continuing after a crash."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from gateway.errors import Busy, LoadFailed, NoWorker, Quarantined, RequestError
from gateway.inference.generation import Generation
from gateway.inference.listener import Listener
from gateway.inference.plan import Plan
from gateway.inference.prompt_memory import PromptMemory
from gateway.observability.metrics import Metrics
from gateway.scheduling.dispatcher import Dispatcher
from gateway.scheduling.notices import Continued, Paused
from gateway.scheduling.quarantine import Quarantine
from gateway.scheduling.quotas import Quota
from gateway.scheduling.turns import Turn, Waiter
from gateway.workers.call import Answer
from gateway.workers.link import Link
from protocol import messages
from protocol.errors import ErrorCode
from protocol.messages import FinishReason

log = logging.getLogger(__name__)

UNREAD = "its text is not read"
TURNS = "others have their turn"


@dataclass(frozen=True, slots=True)
class Parked:
    """It was ended in its worker and continues later; if it is `stalled`, when its client reads."""

    stalled: bool


class Generations:
    """Runs generations in workers."""

    def __init__(
        self, dispatcher: Dispatcher, link: Link, quarantine: Quarantine, metrics: Metrics,
        *, client_limit: float,
    ) -> None:  # fmt: skip
        """A client that takes nothing for `client_limit` seconds is dropped; 0 means never."""
        self._dispatcher = dispatcher
        self._link = link
        self._quarantine = quarantine
        self._metrics = metrics
        self._client_limit = client_limit
        self._prompts = PromptMemory()

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
            with self._prompts.holding(plan.owner, plan.bytes):
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
        waiter = self._waiter(generation, plan)
        while True:
            began = time.monotonic()
            try:
                async with self._dispatcher.slot(waiter) as turn:
                    self._metrics.queue.observe(time.monotonic() - began)
                    answer = await self._run_turn(generation, plan, turn)
            except (LoadFailed, NoWorker) as error:
                if lost is None:
                    raise
                return replace(lost, error=f"{lost.error}; nobody could go on with it: {error}")
            match answer:
                case Parked(stalled=stalled):
                    waiter = replace(waiter, first=False, admitted=True)
                    await self._park(generation, turn, stalled=stalled)
                case messages.Failed(code=ErrorCode.NO_MODEL) if not unloaded:
                    unloaded = True
                    self._link.fleet.unload(turn.worker)
                case messages.Failed(code=ErrorCode.WORKER_LOST):
                    lost = replace(answer, error=f"{answer.error}; {_so_far(state.count)}")
                    harmless = not self._quarantine.is_quarantined(plan.fingerprint)
                    resumable = plan.resumable and turn.worker.resumable
                    if not (harmless and state.fail_over(resumable=resumable)):
                        return lost
                    waiter = replace(waiter, first=True)
                    self._metrics.continued += 1
                    log.warning("generation %s continues from token %d: %s",
                                state.id, state.count, answer.error)  # fmt: skip
                case _:
                    return answer

    def _waiter(self, generation: Generation, plan: Plan) -> Waiter:
        return Waiter(
            binding=plan.binding, model=plan.model, slot=True, owner=plan.owner,
            session=plan.session, parkable=True, prefixes=plan.prefixes,
            notify=generation.notify if generation.wants_notices else None,
        )  # fmt: skip

    async def _run_turn(
        self, generation: Generation, plan: Plan, turn: Turn
    ) -> messages.Failed | messages.Finished | Parked:
        """Run it in the worker, until it ends there."""
        state = generation.state
        before = state.count
        async with self._link.request(
            turn.worker,
            lambda id: plan.message(
                id, state.tokens, state.length, generation.credit, progress=generation.wants_notices
            ),
            generation.feed,
            plan.fingerprint,
            slot=True,
            progress=generation.progressed,
        ) as call:
            turn.park = lambda: self._link.stop(call)
            generation.begin_turn(turn, call)
            if before:
                generation.notify(Continued("it has a slot again"))
            try:
                answer = await call.answer
            finally:
                generation.end_turn()
        end = self._end(answer, turn)
        if isinstance(end, Parked) and isinstance(answer, messages.Finished):
            state.park(answer, state.count - before)
        return end

    async def _park(self, generation: Generation, turn: Turn, *, stalled: bool) -> None:
        """Return when it may wait for its next turn."""
        state, parked = generation.state, self._metrics.parked_now
        self._metrics.parked["unread" if stalled else "turns"] += 1
        log.debug("generation %s is parked at token %d", state.id, state.count)
        generation.notify(Paused(UNREAD if stalled else TURNS))
        if not stalled:
            return
        parked[turn.owner] += 1
        try:
            if not await generation.reading.until_read(self._client_limit):
                generation.drop_client(f"has not read for {self._client_limit:g} s")
                await generation.reading.until_read(0)  # its session may come back
        finally:
            parked[turn.owner] -= 1
            if not parked[turn.owner]:
                del parked[turn.owner]

    def _end(self, answer: Answer, turn: Turn) -> messages.Failed | messages.Finished | Parked:
        worker = turn.worker
        if isinstance(answer, messages.Finished) and answer.reason == FinishReason.CANCELLED:
            if turn.parking:
                return Parked(stalled=turn.unread)
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
