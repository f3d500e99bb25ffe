"""Questions to repeat or spell words, also words that training never shows."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, Judge, squeeze
from embedded_model.text.split import Split, draw, wordings
from embedded_model.text.words import (
    ADJECTIVES,
    FIRST_NAMES,
    NOUNS,
    VERBS,
    blend,
    invent,
    name,
    word,
)

_REPEAT = wordings("copying", "repeat")
_SPELL = wordings("copying", "spell")


def _repeats(words: str) -> Judge:
    wanted = squeeze(words)

    def judge(answer: str) -> bool:
        place = squeeze(answer).find(wanted)
        rest = squeeze(answer)[place + len(wanted) :]
        return (
            place >= 0 and not rest[:1].isalnum() and not rest.startswith(" " + wanted.split()[0])
        )

    return judge


def repeat(rng: Random, split: Split) -> Exchange:
    """Repeat one to six words."""
    count = rng.randint(1, 6)
    words = " ".join(
        name(rng, split) if rng.random() < 0.1 else word(rng, split) for _ in range(count)
    )
    return Exchange(
        "repeating",
        _REPEAT.pick(rng, split).format(words),
        f"You said: {words}",
        _repeats(words),
        True,
    )


def spell(rng: Random, split: Split) -> Exchange:
    """Spell a word or a name; held-out ones are invented.

    A listed word may be a single token, and its letters cannot be known without training on it.
    """
    chance = rng.random()
    if split == "train" and chance < 0.35:
        text = rng.choice(rng.choice((NOUNS, ADJECTIVES, VERBS, FIRST_NAMES)))
    elif split == "train" and chance < 0.5:
        text = draw(lambda: blend(rng), str, split)
    else:
        text = draw(lambda: invent(rng, 1, 3), str, split)
    if rng.random() < 0.1:
        text = text.capitalize()
    letters = " ".join(text.lower())  # each a token of its own
    question = _SPELL.pick(rng, split).format(text)
    return Exchange("spelling", question, f"It is spelled: {letters}.", _repeats(letters), True)
