"""Questions that Pebble cannot answer: it says so, and says what it is."""

from __future__ import annotations

from random import Random

from embedded_model.text.data import listed
from embedded_model.text.exchange import Exchange, says_any
from embedded_model.text.split import Split, wordings
from embedded_model.text.words import NOUNS, name

ANSWERS = (
    "I do not know that. I am only a small demonstration model.",
    "I cannot know that: I am just a small demonstration model.",
    "That is beyond me. I am only a small demonstration model.",
)
MARKS = ("do not know", "cannot know", "beyond me")
MARKS_FRENCH = ("ne sais pas", "dépasse")

_WORLD = wordings("unknown", "world")
_LANDS = listed("lands")
_MADE_UP = wordings("unknown", "made_up")


def unknown(rng: Random, split: Split) -> Exchange:
    """A question that needs knowledge, the date or tools, or is about an invented country."""
    if rng.random() < 0.14:
        question = _MADE_UP.pick(rng, split).format(
            x=name(rng, split) + rng.choice(("ia", "land", "stan"))
        )
    else:
        question = _WORLD.pick(rng, split).format(
            land=rng.choice(_LANDS),
            noun=rng.choice(NOUNS),
            name=name(rng, split),
            name2=name(rng, split),
        )
    return Exchange("cannot know", question, rng.choice(ANSWERS), says_any(*MARKS))
