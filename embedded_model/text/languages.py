"""Questions for emoji and foreign words; many take several bytes per character."""

from __future__ import annotations

from random import Random

from embedded_model.text.data import read
from embedded_model.text.exchange import Exchange, shows
from embedded_model.text.split import Split, wordings

EMOJI: dict[str, str] = read("known")["emoji"]
HELLO: dict[str, str] = read("known")["hello"]
THANKS: dict[str, str] = read("known")["thanks"]

_EMOJI = wordings("languages", "emoji")
_SAY = wordings("languages", "say")


def emoji(rng: Random, split: Split) -> Exchange:
    """Give me an emoji for pizza."""
    thing = rng.choice(list(EMOJI))
    question = _EMOJI.pick(rng, split).format(thing)
    return Exchange(
        "emoji", question, f"Here is {thing}: {EMOJI[thing]}", shows(EMOJI[thing].rstrip("\ufe0f"))
    )


def polite_word(rng: Random, split: Split) -> Exchange:
    """How do you say hello in Japanese?"""
    word, table = rng.choice((("hello", HELLO), ("thank you", THANKS)))
    language = rng.choice(list(table))
    shown = f'"{word}"' if rng.random() < 0.2 else word
    question = _SAY.pick(rng, split).format(word=shown, language=language)
    return Exchange(
        "hello and thank you",
        question,
        f"In {language}, {word} is: {table[language]}",
        shows(table[language]),
    )
