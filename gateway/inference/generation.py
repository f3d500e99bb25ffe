"""One generation: its text so far, its client, and the credit of its worker."""

import asyncio
import time
import uuid

from gateway.inference.listener import Listener
from gateway.inference.outcomes import Outcome
from gateway.inference.plan import CREDIT, Plan
from gateway.inference.reading import Reading
from gateway.inference.state import GenerationState
from gateway.observability.metrics import Metrics
from gateway.scheduling.notices import Notice, PromptProgress
from gateway.scheduling.turns import Turn
from gateway.workers.call import Call
from protocol import messages
from protocol.messages import Chunk

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
        self._turn: Turn | None = None
        self._starting = False  # its turn has brought nothing yet
        self.reading = Reading()
        self._length_at_detach = 0  # characters
        self._last_chunk_at = 0.0  # when the last chunk came

    def feed(self, call: Call, chunk: Chunk) -> None:
        count = chunk.count
        state = self.state
        taken = state.take(chunk.text, chunk.tokens, count)
        if state.full:
            return self.interrupt("the worker's answer is too long")
        if self._starting:
            self._note_start()
        if not taken:
            return call.grant(count)
        self._measure(count)
        self.reading.unsent += count
        if self._listener:
            self._listener.chunk(state.id, chunk.text, count, self._grant)
        elif state.length - self._length_at_detach < MAX_AWAY_CHARACTERS:
            self._grant(self.reading.unsent)

    def _grant(self, tokens: int) -> None:
        """Their text was sent: the worker may send so many tokens more."""
        reading = self.reading
        reading.unsent -= tokens
        reading.moved = True
        if reading.awaited:
            reading.taken()
        if self._call:
            self._call.grant(tokens)

    def begin_turn(self, turn: Turn, call: Call) -> None:
        """It runs in a worker."""
        self._turn, self._call, self._starting = turn, call, True
        turn.look = self._look
        turn.check_reader = self._check_reader

    def end_turn(self) -> None:
        """It runs in no worker. If it has not ended, it continues later."""
        self._turn = self._call = None

    def _note_start(self) -> None:
        self._starting = False
        if self._turn:
            self._turn.start_seconds = time.monotonic() - self._turn.began

    def _look(self) -> None:
        """Bring its turn's `unread_since` up to date."""
        if self._turn:
            last = max(self._last_chunk_at, self._turn.began)
            self._turn.unread_since = self.reading.look(last, time.monotonic())

    def drop_client(self, why: str) -> None:
        """End the connection, if there is one; its session may come back."""
        if self._listener:
            self._listener.drop(why)

    def _check_reader(self) -> None:
        """Find out whether its client reads."""
        if self._listener:
            self.reading.ask(self._listener, time.monotonic())

    @property
    def credit(self) -> int:
        """Tokens that a worker may send."""
        return max(1, CREDIT - self.reading.unsent)

    @property
    def wants_notices(self) -> bool:
        """Whether its client wants to be told what happens while it waits."""
        return self._listener is not None and self._listener.wants_notices

    def notify(self, notice: Notice) -> None:
        if self._listener and not self.state.outcome:
            self._listener.notice(self.state.id, notice)

    def progressed(self, message: messages.LoadProgress | messages.PromptProgress) -> None:
        if isinstance(message, messages.PromptProgress):
            self.notify(PromptProgress(message.done, message.total, message.reused))

    def detach(self) -> None:
        """Its client is disconnected and may come back. Text in its send queue is missed."""
        self._listener, self._length_at_detach = None, self.state.length
        self.reading.forget_client()
        self._grant(self.reading.unsent)

    def attach(self, listener: Listener, have: int) -> None:
        """Send to this listener from now on, and first the text after `have` characters."""
        if self._listener:
            self.detach()
        self._listener = listener
        missed = self.state.text[have:]
        for start in range(0, len(missed), REPLAY_CHARACTERS):
            listener.chunk(self.state.id, missed[start : start + REPLAY_CHARACTERS], 0, self._grant)
        self._grant(self.reading.unsent)
        if self.state.outcome:
            listener.ended(self.state.id, self.state.outcome)

    @property
    def bytes(self) -> int:
        """Memory of its texts."""
        return self.state.bytes + (self.plan.bytes if self.plan else 0)

    def release(self) -> None:
        """It has ended: only its text and its end are still needed."""
        self.plan = self._call = self._turn = None
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
