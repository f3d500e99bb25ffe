"""How does Pebble copy? It repeats words that it never saw, and spells them."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, Judge, squeeze
from embedded_model.text.split import Split, wordings
from embedded_model.text.words import name, word

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
    """Spell a word or a name."""
    text = name(rng, split) if rng.random() < 0.15 else word(rng, split)
    letters = "-".join(text.lower())
    question = _SPELL.pick(rng, split).format(text)
    return Exchange("spelling", question, f"It is spelled {letters}.", _repeats(letters), True)
