"""Report to the gateway how far a load or a prompt is, at most four times a second."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from protocol.messages import Chunk, LoadProgress, Message, PromptProgress
from worker.generation import Generation

INTERVAL = 0.25
"""Seconds between two reports of one request."""


class LoadReport:
    """The progress of one load: `Model.progress`. The binding calls it, from any thread."""

    def __init__(
        self,
        id: int,
        send: Callable[[list[Chunk | Message]], None],
        tick: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tick` is called each time, `send` with what has changed."""
        self._id = id
        self._send = send
        self._tick = tick
        self._clock = clock
        self._sent = -1.0
        self._due = -math.inf
        self._over = False

    def __call__(self, fraction: float | None = None) -> None:
        self._tick()
        if fraction is None or self._over:
            return
        now = self._clock()
        part = round(min(1.0, max(0.0, float(fraction))), 3)  # 0 for NaN
        if part != self._sent and now >= self._due:
            self._sent, self._due = part, now + INTERVAL
            self._send([LoadProgress(self._id, part)])

    def end(self) -> None:
        """The load is over: say nothing more."""
        self._over = True


@dataclass(slots=True)
class _Prompt:
    generation: Generation
    done: int = 0
    """As in the last report."""
    due: float = -math.inf


class PromptReports:
    """The prompts whose progress somebody wants to know. Belongs to the model thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._prompts: list[_Prompt] = []

    def __bool__(self) -> bool:
        return bool(self._prompts)

    def add(self, generation: Generation) -> None:
        self._prompts.append(_Prompt(generation))

    def take(self, running: list[Generation]) -> list[Chunk | Message]:
        """What is to be sent now. Forgets what is not `running`, or has sent its first token."""
        self._prompts = [
            prompt
            for prompt in self._prompts
            if not prompt.generation.spent and prompt.generation in running
        ]
        now = self._clock()
        return [
            report
            for prompt in self._prompts
            if now >= prompt.due and (report := self._report(prompt, now))
        ]

    def _report(self, prompt: _Prompt, now: float) -> PromptProgress | None:
        """None if nothing has changed since the last one."""
        generation = prompt.generation
        if not generation.request:
            return None
        usage = generation.request.usage
        total = usage.prompt_tokens
        done = min(int(usage.computed_tokens), total)
        if done <= prompt.done:
            return None
        prompt.done, prompt.due = done, now + INTERVAL
        reused = min(max(0, int(usage.reused_tokens)), total)
        return PromptProgress(generation.id, done, total, reused)
