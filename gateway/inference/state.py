"""How does a generation end exactly once? What its client was told, and may still be told.

Plain state: `gateway.inference.generation` feeds it, and sends what it returns.
"""

from enum import StrEnum
from typing import Any

Event = tuple[str, dict[str, Any]]


class End(StrEnum):
    """How it went; also the `outcome` in logs and metrics."""

    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BUSY = "busy"
    GONE = "gone"  # the client went away: nobody is left to be told


class Stream:
    """RUNNING until one of the methods that end it is called; whatever comes later is nothing."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.end: End | None = None
        self.tokens: list[int] = []
        """Ids chosen so far: what another worker needs to go on from here."""
        self.length = 0
        """Characters delivered."""
        self.count = 0
        """Tokens that came, also from a binding that knows no ids."""
        self.outlived = 0
        """Workers that died under it and did not end it."""
        self._text = bytearray()  # a list of small strings would be ten times as large

    @property
    def text(self) -> str:
        return self._text.decode()

    @property
    def untouched(self) -> bool:
        """Its client has seen nothing of it."""
        return not self.length

    def take(self, text: str, tokens: list[int], count: int = 0) -> bool:
        """Note what came; whether its text may go out. `count` is that of the tokens."""
        if self.end:
            return False
        self.tokens += tokens
        self.count += count
        if text:
            self._text += text.encode()
            self.length += len(text)
        return bool(text)

    def outlive(self, *, resumable: bool) -> bool:
        """Its worker died: whether another may go on with it, from `tokens` and `length`.

        Once. What cannot be resumed starts again, if its client has seen nothing of it.
        """
        if self.end or self.outlived or not (resumable or self.untouched):
            return False
        self.outlived += 1
        if not resumable:
            self.tokens.clear()
            self.count = 0
        return True

    def finish(self, **details: Any) -> list[Event]:
        """It is complete; `details` go beside the text."""
        return self._close(End.FINISHED, ("text_generated", {"text": self.text, **details}))

    def fail(self, error: str, **details: Any) -> list[Event]:
        """No text_generated: it would pass a truncated answer off as complete."""
        return self._close(End.FAILED, ("generation_error", {"error": error, **details}))

    def refuse(self) -> list[Event]:
        """Never started: too many run or wait."""
        return self._close(End.BUSY, ("buzzy", {"message": "I am buzzy. Come back later."}))

    def cancel(self) -> list[Event]:
        """A text_generated too: a real client of 2023 ends on nothing else."""
        return self._close(
            End.CANCELLED,
            ("generation_canceled", {"message": "Generation is canceled."}),
            ("text_generated", {"text": self.text}),
        )

    def abandon(self) -> list[Event]:
        return self._close(End.GONE)

    def _close(self, end: End, *events: Event) -> list[Event]:
        if self.end:
            return []
        self.end = end
        return [(name, {**data, "id": self.id}) for name, data in events]
