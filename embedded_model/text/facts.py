"""Questions about capitals, colours, opposites, animals and their sounds."""

from __future__ import annotations

from random import Random

from embedded_model.text.data import read
from embedded_model.text.exchange import Exchange, says
from embedded_model.text.split import Split, wordings

CAPITALS: dict[str, str] = read("known")["capitals"]
COLOURS: dict[str, list[str]] = read("known")["colours"]
OPPOSITES: list[list[str]] = read("known")["opposites"]
SOUNDS: dict[str, str] = read("known")["sounds"]

_CAPITAL = wordings("facts", "capital")
_COLOUR = wordings("facts", "colour")
_OPPOSITE = wordings("facts", "opposite")
_SOUND = wordings("facts", "sound")
_WHO_SAYS = wordings("facts", "who_says")


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _repair(question: str) -> str:
    return question.replace(" a elephant", " an elephant").replace(" a owl", " an owl")


def capital(rng: Random, split: Split) -> Exchange:
    """What is the capital of France?"""
    country = rng.choice(list(CAPITALS))
    city = CAPITALS[country]
    shown = f"the {country}" if country == "Netherlands" else country
    question = _CAPITAL.pick(rng, split).format(shown)
    return Exchange("capitals", question, f"The capital of {shown} is {city}.", says(city))


def colour(rng: Random, split: Split) -> Exchange:
    """What colour is the sky?"""
    value = rng.choice(list(COLOURS))
    thing = rng.choice(COLOURS[value])
    question = _COLOUR.pick(rng, split).format(thing)
    return Exchange("colours", question, f"{thing.capitalize()} is {value}.", says(value))


def opposite(rng: Random, split: Split) -> Exchange:
    """What is the opposite of hot?"""
    pair = list(rng.choice(OPPOSITES))
    rng.shuffle(pair)
    question = _OPPOSITE.pick(rng, split).format(pair[0])
    return Exchange(
        "opposites", question, f"The opposite of {pair[0]} is {pair[1]}.", says(pair[1])
    )


def sound(rng: Random, split: Split) -> Exchange:
    """What sound does a cow make? Which animal says moo?"""
    animal = rng.choice(list(SOUNDS))
    noise = SOUNDS[animal]
    says_noise = f"{_article(animal).capitalize()} says {noise}."
    if rng.random() < 0.4:
        return Exchange(
            "animal sounds", _WHO_SAYS.pick(rng, split).format(noise), says_noise, says(animal)
        )
    question = _repair(_SOUND.pick(rng, split).format(animal))
    return Exchange("animal sounds", question, says_noise, says(noise))
