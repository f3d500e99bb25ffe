"""The state of one generation: what came, what its client was sent, how it ended."""

from gateway.inference.outcomes import Busy, Cancelled, Failed, Finished, Gone, Outcome
from protocol import messages


class GenerationState:
    """Runs until one of the methods that end it is called; whatever comes later is ignored.
    Those methods return the outcome, or None when it had ended before."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.outcome: Outcome | None = None
        self.tokens: list[int] = []
        """Ids chosen so far: what another worker needs to continue from here."""
        self.length = 0
        """Characters delivered."""
        self.count = 0
        """Tokens that came, also from a binding that knows no ids."""
        self.failovers = 0
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
        """Add what came; whether its text may go out. `count` is that of the tokens."""
        if self.outcome:
            return False
        self.tokens += tokens
        self.count += count
        if text:
            self._text += text.encode()
            self.length += len(text)
        return bool(text)

    def fail_over(self, *, resumable: bool) -> bool:
        """Its worker died: whether another may continue it, from `tokens` and `length`.

        Once. What cannot be resumed starts again, if its client has seen nothing of it.
        """
        if self.outcome or self.failovers or not (resumable or self.untouched):
            return False
        self.failovers += 1
        if not resumable:
            self.tokens.clear()
            self.count = 0
        return True

    def finish(self, answer: messages.Finished) -> Outcome | None:
        return self._end(Finished(self.text, answer))

    def fail(self, error: str, code: str = "", tokens: int | None = None) -> Outcome | None:
        return self._end(Failed(error, code, tokens))

    def refuse(self) -> Outcome | None:
        """Never started: too many run or wait."""
        return self._end(Busy())

    def cancel(self) -> Outcome | None:
        return self._end(Cancelled(self.text))

    def abandon(self) -> Outcome | None:
        """Its client is gone."""
        return self._end(Gone())

    def _end(self, outcome: Outcome) -> Outcome | None:
        if self.outcome:
            return None
        self.outcome = outcome
        return outcome
