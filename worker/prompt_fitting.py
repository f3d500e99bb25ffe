"""What of the prompt fits the context?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.binding import ContextOverflow

ROOM = 4
"""At most one part in so many of the context is kept free for the answer."""
STRIDE = 4
"""Blocks go by as much as one part in so many of the budget at a time: a discussion that
grows by a block a turn keeps its beginning for many turns, and a binding its cached prefix."""

Tokenize = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Fitted:
    text: str
    tokens: tuple[int, ...] = ()
    """Empty when there is no limit: then nothing was tokenised."""
    dropped: int = 0
    """Tokens left out."""


def fit(
    blocks: Sequence[str],
    text_without: Callable[[int], str],
    *,
    n_predict: int,
    context_size: int,
    tokenize: Tokenize,
) -> Fitted:
    """Drop the oldest blocks until the rest leaves room for the answer.

    `text_without` is the whole without so many of the blocks. What is left without any of
    them may take the answer's room, as long as one token can be generated. Raise
    ContextOverflow when not even that is so.
    """
    text = text_without(0)
    if context_size <= 0:
        return Fitted(text)
    whole = tokens = tokenize(text)
    budget = context_size - max(1, min(n_predict, context_size // ROOM))
    kept = 0
    if len(whole) > budget and blocks:
        kept = _first_kept(blocks, len(whole) - budget, max(1, budget // STRIDE), tokenize)
        while True:
            text = text_without(kept)
            tokens = tokenize(text)
            if len(tokens) <= budget or kept == len(blocks):
                break
            kept += 1
    if len(tokens) >= context_size:
        raise ContextOverflow(
            f"the prompt has {len(tokens)} tokens, the model's context {context_size}"
        )
    return Fitted(text, tuple(tokens), max(0, len(whole) - len(tokens)))


def _first_kept(blocks: Sequence[str], excess: int, stride: int, tokenize: Tokenize) -> int:
    """The first block that stays, when `excess` tokens rounded up to strides have to go.

    Rounding makes the answer the same over several turns, although nothing is remembered.
    """
    to_drop = -(-excess // stride) * stride
    for index, block in enumerate(blocks):
        to_drop -= len(tokenize(block))
        if to_drop <= 0:
            return index + 1
    return len(blocks)
