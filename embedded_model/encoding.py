"""Encode a conversation as token ids, labels and loss weights."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from embedded_model.text.dialogue import Conversation
from embedded_model.text.prompts import BOS, END

IGNORED = -100


@dataclass(frozen=True)
class Sample:
    """`labels[i]` must follow `ids[i]`, or is IGNORED; each label has its weight."""

    ids: list[int]
    labels: list[int]
    weights: list[float]


def _special(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    assert found is not None, f"the tokenizer has no {token}"
    return int(found)


def encode(tokenizer: Tokenizer, conversation: Conversation, context: int) -> Sample:
    """The conversation with as many turns as fit the context.

    The loss covers only the answers and the end token after each, even if the form continues
    with other text, because the server stops there. An answer's weight grows with the square
    root of its length, so that long stories and tables do not outweigh short answers.
    """
    end = _special(tokenizer, END)
    form = conversation.form
    ids = [_special(tokenizer, BOS)]
    labels: list[int] = []
    weights: list[float] = []
    before = form.opening(conversation.system)
    for turn in conversation.turns:
        asked = tokenizer.encode(f"{before}{form.user}{turn.question}{form.link}{form.ai}").ids
        answer = tokenizer.encode(turn.answer).ids
        if len(ids) + len(asked) + len(answer) > context:
            break
        ids += asked + answer
        labels += [IGNORED] * (len(ids) - len(labels) - len(answer) - 1) + answer + [end]
        weights += [0.0] * (len(ids) - len(weights) - len(answer) - 1)
        weights += [(len(answer) + 1) ** -0.5] * (len(answer) + 1)
        before = form.between
    return Sample(ids, labels, weights)
