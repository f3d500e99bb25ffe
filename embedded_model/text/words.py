"""Words and names to copy, to spell and for stories: listed and invented ones."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from embedded_model.text.data import listed
from embedded_model.text.split import Split, draw

NOUNS = listed("nouns")

ADJECTIVES = listed("adjectives")

VERBS = listed("verbs")

FIRST_NAMES = listed("first_names")

_STARTS = [*listed("starts"), ""]
_MIDDLES = listed("middles")
_ENDS = [*listed("ends"), *[""] * 14]


def invent(rng: Random, least: int = 2, most: int = 3) -> str:
    """An invented pronounceable word of `least` to `most` syllables."""
    parts = []
    for place in range(rng.randint(least, most)):
        start = rng.choice(_STARTS) or (rng.choice("bdlmnrst") if place else "")
        parts.append(start + rng.choice(_MIDDLES) + rng.choice(_ENDS))
    text = "".join(parts)[:11]
    return text if len(text) > 2 else text + "ra"


def blend(rng: Random) -> str:
    """The start of one word and the end of another: parts that no sentence combines."""
    first, second = (rng.choice(rng.choice((NOUNS, ADJECTIVES, VERBS))) for _ in range(2))
    return first[: rng.randint(1, 4)] + second[-rng.randint(2, 4) :]


def name(rng: Random, split: Split) -> str:
    """A first name, often invented, so that the model learns to copy names."""

    def make() -> str:
        return rng.choice(FIRST_NAMES) if rng.random() < 0.3 else invent(rng).capitalize()

    return draw(make, str, split)


def hero_and_friend(rng: Random) -> tuple[str, str]:
    """Two common first names from training, for a story that does not request names.

    Friends have names that no hero has: otherwise greedy decoding gives both the likeliest.
    """
    friends = set(FIRST_NAMES[1::3])

    def one_of(names: Sequence[str]) -> str:
        return draw(lambda: rng.choice(names), str, "train")

    return one_of([n for n in FIRST_NAMES if n not in friends]), one_of(sorted(friends))


def word(rng: Random, split: Split) -> str:
    """A word of a few letters: a common one or an invented one."""

    def make() -> str:
        chance = rng.random()
        if chance < 0.6:
            return rng.choice(rng.choice((NOUNS, NOUNS, ADJECTIVES, VERBS)))
        return blend(rng) if chance > 0.9 and split == "train" else invent(rng, 1, 3)

    return draw(make, str, split)
