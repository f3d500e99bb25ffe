"""The state of one generation in the engine: tokens, KV cells, sampler and what is ready."""

from collections import deque

from worker.binding import BindingError, Request

from .prefix_cache import KvCells
from .sampler import Row, Sampler
from .settings import EXACT_REPLAY


class Sequence:
    """Prompt and answer are one list of tokens, of which the first ones are computed.

    If one token is missing the sequence decodes; if more are, it has a prompt to prefill.
    The engine needs no other state.
    """

    __slots__ = (
        "argmax_only", "cells", "ended", "failure", "forbidden", "has_grammar", "interrupted",
        "logprobs", "postponed", "prompt_length", "ready", "request", "reserved", "sampler",
        "to_replay", "tokens",
    )  # fmt: skip

    def __init__(self, request: Request, prompt: list[int], sampler: Sampler, context: int) -> None:
        self.request = request
        self.sampler = sampler
        resume = request.resume
        self.to_replay = deque(resume if len(resume) <= EXACT_REPLAY else ())
        """Tokens of a resumed answer that are still to be computed one a step, as at first."""
        self.tokens = [*prompt] if self.to_replay else [*prompt, *resume]
        self.prompt_length = len(prompt)
        self.reserved = min(context, self.prompt_length + request.n_predict)
        """KV cells that it may need at most."""
        self.cells: KvCells | None = None
        """None while it waits to be admitted."""
        self.ready: deque[int] = deque()
        """Sampled and not yet taken. While there are any, the sequence is not computed."""
        self.logprobs = request.sampling.logprobs
        """How many likely tokens to report beside each sampled one; 0 reports nothing."""
        self.argmax_only = sampler.pure_greedy and not self.logprobs and not self.to_replay
        """The next token is the likeliest one, unless that is `forbidden`."""
        self.forbidden = sampler.forbidden
        self.ended = len(self.tokens) + len(self.to_replay) >= self.reserved
        self.has_grammar = sampler.has_grammar
        self.postponed: Row | None = None
        """Logits from which its next token is to be sampled, when the grammars' time allows it."""
        self.failure: BindingError | None = None
        """Why it ended, if its grammar cannot be matched any longer."""
        self.interrupted = False
        """Set by the link thread: the request was cancelled."""

    @property
    def computed(self) -> int:
        """Tokens that are in the KV cache."""
        return self.cells.computed if self.cells else 0

    @property
    def missing(self) -> int:
        """Tokens that are not computed."""
        return len(self.tokens) - (self.cells.computed if self.cells else 0)

    def count_prompt(self) -> None:
        """Part of the prompt was computed: the worker reports how much."""
        self.request.usage.computed_tokens = min(self.computed, self.prompt_length)

    def take_replayed(self) -> None:
        """The next token is the first of `to_replay`."""
        self.tokens.append(self.to_replay.popleft())
        self.argmax_only = self.sampler.pure_greedy and not self.logprobs and not self.to_replay

    def id(self) -> int:
        """The sequence id in llama.cpp, once admitted; it may change between steps."""
        assert self.cells
        return self.cells.id

    def fail(self, error: BindingError) -> None:
        self.failure = self.failure or error
        self.ended = True

    def take(self, token: int | None, ends: frozenset[int]) -> None:
        """`token` was sampled; None means that no token is allowed."""
        if token is None or token in ends:
            self.ended = True
            return
        self.tokens.append(token)
        self.ready.append(token)
        if len(self.tokens) >= self.reserved:
            self.ended = True
