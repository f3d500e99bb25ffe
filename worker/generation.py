"""One generation in the worker, from its request to its end.

It belongs to the model thread. The link thread writes `cancelled` and `granted` only.
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
        "_n_predict", "_pieces", "_replay", "_skipping", "_text",
        "cancelled", "context_size", "granted", "id", "message", "request", "spent", "tokens",
    )  # fmt: skip

    def __init__(self, message: Generate) -> None:
        self.id = message.id
        self.message = message
        self.cancelled = False
        self.granted = message.credit
        """Credit so far, in tokens; only the link thread adds to it."""
        self.spent = 0
        """Tokens sent so far; only the model thread adds to it."""
        self.tokens = 0
        """Tokens generated so far, including resumed ones."""
        self.request: Request | None = None
        self.context_size = 0
        self._replay = len(message.resume)  # resumed tokens that the binding has yet to repeat
        self._skipping = message.skip > 0
        self._n_predict = message.n_predict
        self._text = Text(message.stop, message.skip)
        self._pieces: Iterator[Piece] = iter(())

    def open(self, binding: Binding) -> None:
        """Fit the prompt and start the binding's generator; raises what the binding raises."""
        message = self.message
        self.context_size = binding.context_size

        def text_without(dropped: int) -> str:
            if message.turns:
                text = binding.compose(message.conditioning, message.turns[2 * dropped :])
                if text is not None:
                    return text
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
            holder=message.holder,
            usage=Usage(prompt_tokens=len(fitted.tokens), dropped_tokens=fitted.dropped),
        )
        self._pieces = iter(binding.generate(self.request))

    def advance(self, output: list[Chunk | Message]) -> Finished | None:
        """Append the next piece to `output`, or return the end; raises what the binding raises."""
        if self.cancelled:
            return self.finished(FinishReason.CANCELLED)
        if self.tokens >= self._n_predict:
            return self._end(output, FinishReason.LENGTH)
        piece = next(self._pieces, None)
        if piece is None:
            return self._end(output, self._binding_reason())
        raw, tokens = piece
        if not (tokens or raw):
            return None
        text = self._text.feed(raw)
        count = len(tokens) or 1
        self.tokens += count
        ids = list(map(int, tokens))
        if self._replay or self._skipping:
            ids, count = self._without_replay(ids, count, text)
        if text or count:
            self.spent += count
            output.append(Chunk(self.id, text, ids, count))
        if self._text.stopped:
            return self.finished(FinishReason.STOP)
        if self.tokens >= self._n_predict:
            return self._end(output, FinishReason.LENGTH)
        return None

    def _without_replay(self, ids: list[int], count: int, text: str) -> tuple[list[int], int]:
        """Ids and count of a piece of a resumed generation, without those the gateway has."""
        if self._replay:
            old = min(self._replay, count)
            self._replay -= old
            return ids[old:], count - old
        self._skipping = self._text.skipping
        return (ids, count) if ids or text else ([], 0)

    def _binding_reason(self) -> FinishReason:
        """Why the binding ended the generation: the answer is complete, or the context is full."""
        usage = self.request.usage if self.request else Usage()
        full = 0 < self.context_size <= usage.prompt_tokens + self.tokens
        return FinishReason.LENGTH if full else FinishReason.STOP

    def _end(self, output: list[Chunk | Message], reason: FinishReason) -> Finished:
        if rest := self._text.end():
            output.append(Chunk(self.id, rest, [], 0))
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
        """Close the generator, so that the binding releases what the generation holds."""
        close = getattr(self._pieces, "close", None)
        if close is None:
            return
        with contextlib.suppress(StopIteration):
            close()
