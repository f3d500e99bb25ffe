"""The state of one generation: its text and tokens so far, and how it ended."""

import sys
from dataclasses import replace

from gateway.inference.outcomes import Busy, Cancelled, Failed, Finished, Gone, Outcome
from protocol import messages
from protocol.codec import MAX_ITEMS

TOKEN_BYTES = 36
"""An id in a list."""
LOGPROB_BYTES = 32
"""A number in a list."""

MAX_CHARACTERS = 2**24
"""Of one answer. A worker that counts no tokens needs no credit for its text."""


class GenerationState:
    """Runs until the first method that ends it; later calls change nothing. The methods that
    end it return the outcome, or None when it had ended before."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.outcome: Outcome | None = None
        self.tokens: list[int] = []
        """Ids so far, from which another worker can continue."""
        self.length = 0
        """Characters delivered."""
        self.count = 0
        """Tokens so far, also from a binding without token ids."""
        self.logprobs: list[list[float]] = []
        """Of the tokens so far, if it asked for them and was parked: see `messages.Finished`."""
        self.full = False
        """It has more text than any answer, or tokens than could be sent to another worker."""
        self.failovers = 0
        """How often another worker continued it after a crash."""
        self._text = bytearray()  # a list of small strings would be ten times as large

    @property
    def text(self) -> str:
        if isinstance(self.outcome, Finished | Cancelled):
            return self.outcome.text
        return self._text.decode()

    @property
    def bytes(self) -> int:
        """Memory of what it keeps."""
        size = sys.getsizeof(self._text) + TOKEN_BYTES * len(self.tokens)
        size += LOGPROB_BYTES * sum(map(len, self.logprobs))
        if isinstance(self.outcome, Finished | Cancelled):
            size += sys.getsizeof(self.outcome.text)
        if isinstance(self.outcome, Finished):
            size += LOGPROB_BYTES * sum(map(len, self.outcome.answer.logprobs))
        return size

    @property
    def untouched(self) -> bool:
        """No text was sent to its client."""
        return not self.length

    def take(self, text: str, tokens: list[int], count: int = 0) -> bool:
        """Add a chunk with `count` tokens. Return whether its text is to be sent."""
        if self.outcome:
            return False
        self.tokens += tokens
        self.count += count
        if text:
            self._text += text.encode()
            self.length += len(text)
        self.full = self.length > MAX_CHARACTERS or len(self.tokens) > MAX_ITEMS
        return bool(text)

    def park(self, answer: messages.Finished, tokens: int) -> None:
        """A turn of so many tokens has ended with this answer. Those that the worker computed and
        did not send are computed again."""
        self.logprobs += answer.logprobs[:tokens]

    def fail_over(self, *, resumable: bool) -> bool:
        """Its worker died: return whether another may continue it, from `tokens` and `length`.

        At most once. A generation that cannot be resumed starts again if it is untouched.
        """
        if self.outcome or self.failovers or not (resumable or self.untouched):
            return False
        self.failovers += 1
        if not resumable:
            self.tokens.clear()
            self.logprobs.clear()
            self.count = 0
        return True

    def finish(self, answer: messages.Finished) -> Outcome | None:
        whole = replace(answer, logprobs=self.logprobs + answer.logprobs)
        return self._end(Finished(self.text, whole))

    def fail(self, error: str, code: str = "", tokens: int | None = None) -> Outcome | None:
        return self._end(Failed(error, code, tokens))

    def refuse(self) -> Outcome | None:
        """It is not started: too many generations run or wait."""
        return self._end(Busy())

    def cancel(self) -> Outcome | None:
        return self._end(Cancelled(self.text))

    def abandon(self) -> Outcome | None:
        """Its client is gone."""
        return self._end(Gone())

    def release(self) -> None:
        """It has ended, and may be kept for a client that is away. Nobody continues it: drop the
        tokens, and keep its text once."""
        self.tokens, self.logprobs = [], []
        if isinstance(self.outcome, Finished | Cancelled):
            self._text = bytearray()

    def _end(self, outcome: Outcome) -> Outcome | None:
        if self.outcome:
            return None
        self.outcome = outcome
        return outcome
