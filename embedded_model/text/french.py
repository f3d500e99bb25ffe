"""Questions in French: fewer than in English, only what the French personalities need."""

from __future__ import annotations

from random import Random

from embedded_model.text.data import listed, read
from embedded_model.text.exchange import Exchange, ends_in_number, lists_exactly, says, says_any
from embedded_model.text.numbers import FRENCH, explain_difference, explain_product, explain_sum
from embedded_model.text.split import Split, draw, wordings
from embedded_model.text.unknown import MARKS_FRENCH
from embedded_model.text.words import NOUNS, name

_CAPITALS: dict[str, str] = read("known_french")["capitals"]
_COLOURS: dict[str, str] = read("known_french")["colours"]
_OPPOSITES: list[list[str]] = read("known_french")["opposites"]
_SOUNDS: dict[str, str] = read("known_french")["sounds"]
_DAYS, _MONTHS = listed("jours"), listed("mois")


_CAPITAL = wordings("french", "capital")
_COLOUR = wordings("french", "colour")
_OPPOSITE = wordings("french", "opposite")
_SOUND = wordings("french", "sound")
_AFTER = wordings("french", "after")
_BEFORE = wordings("french", "before")
_CALCULATE = wordings("french", "calculate")
_COUNT = wordings("french", "count")
_UNKNOWN = wordings("french", "unknown")
_ANSWERS = (
    "Je ne sais pas cela. Je ne suis qu'un petit modèle de démonstration.",
    "Cela me dépasse. Je ne suis qu'un petit modèle de démonstration.",
)
_TELL = wordings("french", "tell")
_ASK = wordings("french", "ask")
_REPEAT = wordings("french", "repeat")


def _of(noun: str) -> str:
    return f"du {noun[3:]}" if noun.startswith("le ") else f"de {noun}"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def fact(rng: Random, split: Split) -> Exchange:
    """A capital, a colour, an opposite or an animal's sound."""
    kind = rng.randrange(4)
    if kind == 0:
        land = rng.choice(list(_CAPITALS))
        question = _CAPITAL.pick(rng, split).format(land).replace("de le ", "du ")
        return Exchange(
            "french facts",
            question,
            f"La capitale {_of(land)} est {_CAPITALS[land]}.",
            says(_CAPITALS[land]),
        )
    if kind == 1:
        thing = rng.choice(list(_COLOURS))
        question = _upper(_COLOUR.pick(rng, split).format(thing).replace("de le ", "du "))
        return Exchange(
            "french facts",
            question,
            f"{_upper(thing)} est {_COLOURS[thing]}.",
            says(_COLOURS[thing]),
        )
    if kind == 2:
        pair = list(rng.choice(_OPPOSITES))
        rng.shuffle(pair)
        question = _OPPOSITE.pick(rng, split).format(pair[0])
        return Exchange(
            "french facts", question, f"Le contraire de {pair[0]} est {pair[1]}.", says(pair[1])
        )
    animal = rng.choice(list(_SOUNDS))
    question = _SOUND.pick(rng, split).format(animal).replace("de le ", "du ")
    return Exchange(
        "french facts", question, f"{_upper(animal)} dit {_SOUNDS[animal]}.", says(_SOUNDS[animal])
    )


def neighbour(rng: Random, split: Split) -> Exchange:
    """Which day or month comes after or before."""
    kind, ring = rng.choice((("jour", _DAYS), ("mois", _MONTHS)))
    place = rng.randrange(len(ring))
    after = rng.random() < 0.5
    other = ring[(place + 1) % len(ring)] if after else ring[place - 1]
    question = (_AFTER if after else _BEFORE).pick(rng, split).format(k=kind, x=ring[place])
    answer = f"Le {kind} {'après' if after else 'avant'} {ring[place]} est {other}."
    return Exchange("french calendar", question, answer, says(other))


def number(rng: Random, split: Split) -> Exchange:
    """A calculation or counting, explained as in English."""
    kind = rng.randrange(4)
    a, b = draw(
        lambda: (rng.randint(0, 10), rng.randint(0, 10)),
        lambda p: f"fr{kind}{min(p)},{max(p)}",
        split,
    )
    if kind == 0:
        return Exchange(
            "french numbers",
            _CALCULATE.pick(rng, split).format(f"{a} + {b}"),
            explain_sum(a, b, FRENCH),
            ends_in_number(a + b),
        )
    if kind == 1:
        a, b = max(a, b), min(a, b)
        return Exchange(
            "french numbers",
            _CALCULATE.pick(rng, split).format(f"{a} - {b}"),
            explain_difference(a, b, FRENCH),
            ends_in_number(a - b),
        )
    if kind == 2:
        return Exchange(
            "french numbers",
            _CALCULATE.pick(rng, split).format(f"{a} x {b}"),
            explain_product(a, b, FRENCH),
            ends_in_number(a * b),
        )
    numbers = list(range(min(a, b), max(a, b) + 3))
    question = _COUNT.pick(rng, split).format(numbers[0], numbers[-1])
    return Exchange(
        "french numbers", question, ", ".join(map(str, numbers)) + ".", lists_exactly(numbers)
    )


def repeat(rng: Random, split: Split) -> Exchange:
    """Répète : un mot, deux mots."""
    words = " ".join(
        name(rng, split) if rng.random() < 0.5 else rng.choice(NOUNS)
        for _ in range(rng.randint(1, 4))
    )
    return Exchange(
        "french repeating",
        _REPEAT.pick(rng, split).format(words),
        f"Vous avez dit : {words}",
        says(words),
        True,
    )


def unknown(rng: Random, split: Split) -> Exchange:
    """A question that it cannot answer."""
    land = rng.choice(list(_CAPITALS))
    question = _UNKNOWN.pick(rng, split).format(n=name(rng, split), p=land).replace("de le ", "du ")
    return Exchange("french cannot know", question, rng.choice(_ANSWERS), says_any(*MARKS_FRENCH))


def remember(rng: Random, split: Split) -> tuple[Exchange, Exchange]:
    """The user's name: the statement and the question."""
    who = name(rng, split)
    told = Exchange(
        "french told", _TELL.pick(rng, split).format(who), f"Enchanté, {who} !", says(who), True
    )
    return told, Exchange(
        "french recall", _ASK.pick(rng, split), f"Vous vous appelez {who}.", says(who)
    )
