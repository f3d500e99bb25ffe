"""Which day or month comes before or after another?"""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, says
from embedded_model.text.split import Split, Wordings

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

_AFTER = Wordings(
    train=(
        "What {kind} comes after {x}?", "Which {kind} follows {x}?", "What is the {kind} after {x}?",
        "Tell me the {kind} after {x}.", "Which {kind} is after {x}?", "What {kind} is next after {x}?",
        "What comes after {x}?", "Name the {kind} that follows {x}.", "After {x} comes which {kind}?",
        "If this {kind} is {x}, what is the next {kind}?", "What's the next {kind} after {x}?", "the {kind} after {x}?",
    ),
    held_out=("Which {kind} comes right after {x}?", "Can you tell me the {kind} after {x}?", "What {kind} follows {x}?"),
)  # fmt: skip
_BEFORE = Wordings(
    train=(
        "What {kind} comes before {x}?", "Which {kind} precedes {x}?", "What is the {kind} before {x}?",
        "Tell me the {kind} before {x}.", "Which {kind} is before {x}?", "What {kind} was before {x}?",
        "What comes before {x}?", "Name the {kind} that comes before {x}.", "Before {x} comes which {kind}?",
        "If this {kind} is {x}, what was the last {kind}?", "the {kind} before {x}?",
    ),
    held_out=("Which {kind} comes right before {x}?", "Can you tell me the {kind} before {x}?"),
)  # fmt: skip


def neighbour(rng: Random, split: Split) -> Exchange:
    """What day comes after Monday? What month is before May?"""
    kind, ring = rng.choice((("day", DAYS), ("month", MONTHS)))
    place = rng.randrange(len(ring))
    if rng.random() < 0.5:
        wordings, other, relation = _AFTER, ring[(place + 1) % len(ring)], "after"
    else:
        wordings, other, relation = _BEFORE, ring[place - 1], "before"
    question = wordings.pick(rng, split).format(kind=kind, x=ring[place])
    answer = f"The {kind} {relation} {ring[place]} is {other}."
    return Exchange("days and months", question, answer, says(other))
