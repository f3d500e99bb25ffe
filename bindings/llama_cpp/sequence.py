"""How far is one generation, as the engine sees it?"""

from collections import deque

from worker.binding import Request

from .prefix_cache import Cells
from .sampler import Sampler
from .settings import ONE_BY_ONE


class Sequence:
    """Prompt and answer are one list of tokens, and some of its first are computed.

    One token missing means decoding, more mean that there is a prompt to compute:
    the engine needs no other state.
    """

    __slots__ = (
        "cells", "ended", "first", "forbidden", "given", "interrupted", "logprobs", "quick",
        "ready", "request", "reserved", "sampler", "tokens",
    )  # fmt: skip

    def __init__(self, request: Request, prompt: list[int], sampler: Sampler, context: int) -> None:
        self.request = request
        self.sampler = sampler
        resume = request.resume
        self.given = deque(resume if len(resume) <= ONE_BY_ONE else ())
        """Chosen in an earlier life, and to be computed as then."""
        self.tokens = [*prompt] if self.given else [*prompt, *resume]
        self.first = len(prompt)
        """Where the answer begins."""
        self.reserved = min(context, self.first + request.n_predict)
        """Cells it may come to need: the end, whatever is said."""
        self.cells: Cells | None = None
        """None while it waits for room."""
        self.ready: deque[int] = deque()
        """Chosen and not yet taken: as long as there are some, nothing more is computed."""
        self.logprobs = request.sampling.logprobs
        """How many likely tokens to tell of beside each chosen one; 0 is to say nothing."""
        self.quick = sampler.plain and not self.logprobs and not self.given
        """The likeliest token is all that is wanted, unless it is one of `forbidden`."""
        self.forbidden = sampler.forbidden
        self.ended = len(self.tokens) + len(self.given) >= self.reserved
        self.interrupted = False
        """Set by the link thread: nobody waits for this any more."""

    @property
    def missing(self) -> int:
        return len(self.tokens) - (self.cells.computed if self.cells else 0)

    def take_given(self) -> None:
        """What was chosen here before is chosen again."""
        self.tokens.append(self.given.popleft())
        self.quick = self.sampler.plain and not self.logprobs and not self.given

    def id(self) -> int:
        """Its name in the model's memory, once it is admitted; it may change between steps."""
        assert self.cells
        return self.cells.id

    def take(self, token: int | None, ends: frozenset[int]) -> None:
        """A token was chosen; None is that nothing could be."""
        if token is None or token in ends:
            self.ended = True
            return
        self.tokens.append(token)
        self.ready.append(token)
        if len(self.tokens) >= self.reserved:
            self.ended = True
