"""The evaluation's questions, row by row of the model card's table; all are held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from embedded_model.text import (
    calendar,
    copying,
    facts,
    french,
    french_stories,
    languages,
    memory,
    numbers,
    poems,
    stories,
    unknown,
)
from embedded_model.text.dialogue import Maker, ask, frame
from embedded_model.text.exchange import Exchange, Judge
from embedded_model.text.prompts import BARE, CHAT, Form, raw
from embedded_model.text.smalltalk import smalltalk
from embedded_model.text.voices import (
    GOODBYE,
    GREETING,
    IDENTITY,
    PLAIN,
    PLAIN_FRENCH,
    SHIPPED,
    THANKS,
    Voice,
)
from embedded_model.text.words import name


@dataclass(frozen=True)
class Turn:
    """A question, and a judge if its answer counts."""

    question: str
    judge: Judge | None


@dataclass(frozen=True)
class Script:
    """A conversation to hold with the model."""

    form: Form
    system: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Row:
    """A row of the table; `unknowable` if refusing is right."""

    name: str
    target: str
    make: Callable[[Random], Script]
    unknowable: bool = False


def _plain_form(rng: Random) -> Form:
    """The chat template, a raw form with unseen prefixes, or nothing at all: a third each."""
    return rng.choice((CHAT, raw(rng, "held_out", name(rng, "held_out"), "pebble"), BARE))


def _single(maker: Maker) -> Callable[[Random], Script]:
    def make(rng: Random) -> Script:
        exchange = maker(rng, "held_out")
        return Script(_plain_form(rng), "", (Turn(exchange.question, exchange.judge),))

    return make


def _smalltalk(voice: Voice, kind: str) -> Callable[[Random], Script]:
    def make(rng: Random) -> Script:
        exchange = smalltalk(rng, "held_out", voice, kind)
        return Script(_plain_form(rng), "", (Turn(exchange.question, exchange.judge),))

    return make


def _style(voice: Voice) -> Callable[[Random], Script]:
    """Three turns in one voice; all three answers must be in that voice, right or wrong."""

    def make(rng: Random) -> Script:
        form, system = frame(rng, "held_out", voice)
        while not system:
            form, system = frame(rng, "held_out", voice)
        turns = tuple(Turn(ask(rng, "held_out", voice).question, voice.heard_in) for _ in range(3))
        return Script(form, system, turns)

    return make


def _in_voice(rng: Random) -> Script:
    """A factual question to a shipped English voice; the answer must be right and in style."""
    voice = rng.choice([v for v in SHIPPED if v.language == "english"])
    form, system = frame(rng, "held_out", voice)
    exchange = rng.choice(
        (
            facts.capital,
            facts.colour,
            facts.opposite,
            calendar.neighbour,
            numbers.total,
            copying.repeat,
        )
    )(rng, "held_out")
    judge: Judge = lambda answer: voice.heard_in(answer) and exchange.judge(answer)  # noqa: E731
    return Script(form, system, (Turn(exchange.question, judge),))


def _recall(rng: Random) -> Script:
    """A statement, two other questions, and then the question about it."""
    told, asked = memory.remember(rng, "held_out")
    between = [ask(rng, "held_out", PLAIN) for _ in range(2)]
    form = rng.choice((CHAT, raw(rng, "held_out", name(rng, "held_out"), "pebble")))
    return Script(
        form,
        "",
        (
            Turn(told.question, None),
            *(Turn(b.question, None) for b in between),
            Turn(asked.question, asked.judge),
        ),
    )


def _long(rng: Random) -> Script:
    """As `_recall`, at the end of a conversation of 500 to 900 tokens."""
    told, asked = memory.remember(rng, "held_out")
    between = tuple(Turn(ask(rng, "train", PLAIN).question, None) for _ in range(9))
    return Script(
        CHAT, "", (Turn(told.question, None), *between, Turn(asked.question, asked.judge))
    )


def _french(maker: Maker) -> Callable[[Random], Script]:
    def make(rng: Random) -> Script:
        form, system = frame(rng, "held_out", PLAIN_FRENCH)
        exchange: Exchange = replace(maker(rng, "held_out"))
        return Script(form, system, (Turn(exchange.question, exchange.judge),))

    return make


ROWS = (
    *(
        Row(kind, "≥ 98 %", _smalltalk(PLAIN, kind))
        for kind in (GREETING, IDENTITY, THANKS, GOODBYE)
    ),
    *(
        Row(f"in role for three turns: {v.folder}", "≥ 98 %", _style(v), unknowable=True)
        for v in SHIPPED
    ),
    Row("right and in role", "", _in_voice),
    Row("capitals", "≥ 95 %", _single(facts.capital)),
    Row("colours", "≥ 95 %", _single(facts.colour)),
    Row("opposites", "≥ 95 %", _single(facts.opposite)),
    Row("animals and their sounds", "≥ 95 %", _single(facts.sound)),
    Row("days and months", "≥ 95 %", _single(calendar.neighbour)),
    Row("recall two turns later, unseen names", "≥ 90 %", _recall),
    Row("recall ten turns later", "", _long),
    Row("repeating one to six words", "≥ 90 %", _single(copying.repeat)),
    Row("spelling", "≥ 90 %", _single(copying.spell)),
    Row("counting from a to b", "≥ 90 %", _single(numbers.count)),
    Row("sums to 20", "≥ 90 %", _single(numbers.total)),
    Row("differences to 20", "≥ 90 %", _single(numbers.difference)),
    Row("products to 10", "≥ 90 %", _single(numbers.product)),
    Row("emoji", "≥ 95 %", _single(languages.emoji)),
    Row("hello and thank you", "≥ 95 %", _single(languages.polite_word)),
    Row("a story on a topic", "≥ 90 %", _single(stories.story)),
    Row("a poem on a topic", "", _single(poems.poem)),
    Row("cannot know", "≥ 95 %", _single(unknown.unknown), unknowable=True),
    Row("French: facts", "", _french(french.fact)),
    Row("French: days and months", "", _french(french.neighbour)),
    Row("French: numbers", "", _french(french.number)),
    Row("French: a story", "", _french(french_stories.story)),
    Row("French: cannot know", "", _french(french.unknown), unknowable=True),
)
