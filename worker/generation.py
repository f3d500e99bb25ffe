"""How does one generation go, from its request to its end?

Everything but `cancel` and `grant` belongs to the model thread.
"""

import contextlib
import logging
from collections.abc import Iterator

from protocol.messages import Chunk, Finished, FinishReason, Generate, Message
from worker.binding import Binding, Piece, Request, Usage
from worker.output_text import Text
from worker.prompt_fitting import fit

log = logging.getLogger(__name__)


class Generation:
    __slots__ = (
        "_known", "_n_predict", "_pieces", "_skipping", "_text",
        "cancelled", "context_size", "granted", "id", "message", "request", "spent", "tokens",
    )  # fmt: skip

    def __init__(self, message: Generate) -> None:
        self.id = message.id
        self.message = message
        self.cancelled = False
        self.granted = message.credit
        """Tokens that the gateway allowed so far; only the link thread adds to it."""
        self.spent = 0
        """Tokens that were sent; only the model thread adds to it."""
        self.tokens = 0
        """Generated, resumed ones included."""
        self.request: Request | None = None
        self.context_size = 0
        self._known = len(message.resume)
        self._skipping = message.skip > 0
        self._n_predict = message.n_predict
        self._text = Text(message.stop, message.skip)
        self._pieces: Iterator[Piece] = iter(())

    def open(self, binding: Binding) -> None:
        """Fit the prompt and ask the binding for its pieces; raises what the binding raises."""
        message = self.message
        self.context_size = binding.context_size

        def text_without(dropped: int) -> str:
            if message.turns:
                own = binding.compose(message.conditioning, message.turns[2 * dropped :])
                if own is not None:
                    return own
            return "".join((message.conditioning, *message.blocks[dropped:], message.prompt))

        fitted = fit(
            message.blocks,
            text_without,
            n_predict=message.n_predict,
            context_size=self.context_size,
            tokenize=binding.tokenize,
        )
        self.request = Request(
            prompt=fitted.text,
            tokens=fitted.tokens,
            n_predict=message.n_predict,
            sampling=message.sampling,
            stop=tuple(message.stop),
            resume=tuple(message.resume),
            usage=Usage(prompt_tokens=len(fitted.tokens), dropped_tokens=fitted.dropped),
        )
        self._pieces = iter(binding.generate(self.request))

    def advance(self, said: list[Chunk | Message]) -> Finished | None:
        """One piece, or the end; raises what the binding raises."""
        if self.cancelled:
            return self.finished(FinishReason.CANCELLED)
        if self.tokens >= self._n_predict:
            return self._end(said, FinishReason.LENGTH)
        piece = next(self._pieces, None)
        if piece is None:
            return self._end(said, self._own_reason())
        text, tokens = piece
        if not (tokens or text):
            return None
        shown = self._text.feed(text)
        count = len(tokens) or 1
        self.tokens += count
        ids = list(map(int, tokens))
        if self._known or self._skipping:
            ids, count = self._unknown(ids, count, shown)
        if shown or count:
            self.spent += count
            said.append(Chunk(self.id, shown, ids, count))
        if self._text.stopped:
            return self.finished(FinishReason.STOP)
        if self.tokens >= self._n_predict:
            return self._end(said, FinishReason.LENGTH)
        return None

    def _unknown(self, ids: list[int], count: int, shown: str) -> tuple[list[int], int]:
        """Of a piece that a resumed generation repeats: what the gateway does not have yet."""
        if self._known:
            old = min(self._known, count)
            self._known -= old
            return ids[old:], count - old
        self._skipping = self._text.skipping
        return (ids, count) if ids or shown else ([], 0)

    def _own_reason(self) -> FinishReason:
        """Why the binding ended by itself: its answer was complete, or its context full."""
        usage = self.request.usage if self.request else Usage()
        full = 0 < self.context_size <= usage.prompt_tokens + self.tokens
        return FinishReason.LENGTH if full else FinishReason.STOP

    def _end(self, said: list[Chunk | Message], reason: FinishReason) -> Finished:
        if rest := self._text.end():
            said.append(Chunk(self.id, rest, [], 0))
        return self.finished(FinishReason.STOP if self._text.stopped else reason)

    def finished(self, reason: FinishReason) -> Finished:
        usage = self.request.usage if self.request else Usage()
        return Finished(
            self.id,
            reason,
            self.tokens,
            prompt_tokens=usage.prompt_tokens,
            reused_tokens=usage.reused_tokens,
            dropped_tokens=usage.dropped_tokens,
            logprobs=[[float(x) for pair in place for x in pair] for place in usage.logprobs],
        )

    def close(self) -> None:
        """Let the binding give back what the generation took."""
        close = getattr(self._pieces, "close", None)
        if close is None:
            return
        with contextlib.suppress(StopIteration):
            close()
