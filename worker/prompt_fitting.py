"""Fit a prompt into the context: drop its oldest blocks and leave room for the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.binding import ContextOverflow

ROOM = 4
"""At most 1/ROOM of the context is kept free for the answer."""
STRIDE = 4
"""Blocks are dropped in steps of 1/STRIDE of the budget. A discussion that grows by one block
per turn then keeps its beginning for many turns, and the binding its cached prefix."""

Tokenize = Callable[[str], Sequence[int]]


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    text: str
    tokens: tuple[int, ...] = ()
    """Empty without a context limit: then nothing was tokenised."""
    dropped: int = 0
    """Number of tokens dropped."""


def fit(
    blocks: Sequence[str],
    text_without: Callable[[int], str],
    *,
    n_predict: int,
    context_size: int,
    tokenize: Tokenize,
) -> FittedPrompt:
    """Drop the oldest blocks until there is room for the answer.

    `text_without(n)` is the text without the first n blocks. The text without any blocks
    may also use the room for the answer, as long as one token can be generated. Raise
    ContextOverflow if it does not fit even so.
    """
    text = text_without(0)
    if context_size <= 0:
        return FittedPrompt(text)
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
            f"the prompt has {len(tokens)} tokens, the model's context has only {context_size}"
        )
    return FittedPrompt(text, tuple(tokens), max(0, len(whole) - len(tokens)))


def _first_kept(blocks: Sequence[str], excess: int, stride: int, tokenize: Tokenize) -> int:
    """Index of the first block to keep if `excess` tokens, rounded up to strides, are dropped.

    Because of the rounding, the result is the same for several turns, without any state.
    """
    to_drop = -(-excess // stride) * stride
    for index, block in enumerate(blocks):
        to_drop -= len(tokenize(block))
        if to_drop <= 0:
            return index + 1
    return len(blocks)
