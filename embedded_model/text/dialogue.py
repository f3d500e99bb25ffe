"""Combine questions into conversations: voice, form and turns, the same for the same seed."""

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
    zoo,
)
from embedded_model.text.exchange import Exchange
from embedded_model.text.prompts import BARE, BARE_LINES, CHAT, LOLLMS, Form, raw
from embedded_model.text.smalltalk import smalltalk
from embedded_model.text.split import Split
from embedded_model.text.voices import ENGLISH, FRENCH, PLAIN, PLAIN_FRENCH, SHIPPED, Voice
from embedded_model.text.words import name

Maker = Callable[[Random, Split], Exchange]
ENGLISH_TASKS: dict[Maker, float] = {
    facts.capital: 5,
    facts.colour: 4,
    facts.opposite: 7,
    facts.sound: 7,
    calendar.neighbour: 6,
    numbers.total: 8,
    numbers.difference: 9,
    numbers.product: 8,
    numbers.count: 12,
    copying.repeat: 14,
    copying.spell: 14,
    languages.emoji: 5,
    languages.polite_word: 4,
    stories.story: 6,
    poems.poem: 2,
    unknown.unknown: 11,
    memory.not_told: 1,
}
FRENCH_TASKS: dict[Maker, float] = {
    french.fact: 6,
    french.neighbour: 3,
    french.number: 5,
    french.repeat: 3,
    french.unknown: 5,
    french_stories.story: 3,
}


@dataclass(frozen=True)
class Conversation:
    """All turns with voice and form; the answers are already in the voice."""

    voice: Voice
    form: Form
    system: str
    turns: tuple[Exchange, ...]


def _dressed(rng: Random, voice: Voice, exchange: Exchange) -> Exchange:
    return replace(exchange, answer=voice.dress(rng, exchange.answer))


def _careless(rng: Random, exchange: Exchange) -> Exchange:
    """A question as people type it: sometimes lower case, without punctuation, or with a please."""
    question = exchange.question
    if not exchange.exact_case and rng.random() < 0.1:
        question = question.lower()
    if rng.random() < 0.08 and question[-1] in "?.!":
        question = question[:-1].rstrip()
    elif not exchange.exact_case and rng.random() < 0.05:
        question = rng.choice(("Please, ", "Hey, ", "So, ", "And now: ", "OK. ")) + question
    return replace(exchange, question=question)


def ask(rng: Random, split: Split, voice: Voice) -> Exchange:
    """Any single question of the voice's language, answered in the voice."""
    if rng.random() < 0.1:
        return smalltalk(rng, split, voice)
    tasks = ENGLISH_TASKS
    if voice.language == "french" and (voice is PLAIN_FRENCH or rng.random() < 0.85):
        tasks = FRENCH_TASKS
    maker = rng.choices(list(tasks), list(tasks.values()))[0]
    return _dressed(rng, voice, maker(rng, split))


def recall(rng: Random, split: Split, voice: Voice) -> tuple[Exchange, Exchange]:
    """A statement and the question about it, both answered in the voice."""
    told, asked = (
        french.remember(rng, split) if voice.language == "french" else memory.remember(rng, split)
    )
    return _dressed(rng, voice, told), _dressed(rng, voice, asked)


def pick_voice(rng: Random) -> Voice:
    """Mostly the plain voice, each shipped one often."""
    chance = rng.random()
    if chance < 0.62:
        return PLAIN
    return rng.choice(ENGLISH[1:]) if chance < 0.85 else rng.choice(FRENCH)


def frame(rng: Random, split: Split, voice: Voice) -> tuple[Form, str]:
    """A form and a system text for the voice: those of its personality, or others."""
    if voice in (*SHIPPED, PLAIN) and rng.random() < (0.25 if voice is PLAIN else 0.5):
        personality = zoo.load(voice.folder)
        if rng.random() < 0.75:
            return personality.form, personality.conditioning
        return CHAT, personality.conditioning
    system = rng.choice(voice.systems if split == "train" else voice.held_out)
    chance = rng.random()
    if chance < 0.45:
        return CHAT, system
    if chance < 0.6:
        return LOLLMS, system
    if chance < 0.82 and voice in (PLAIN, PLAIN_FRENCH):
        return rng.choice((BARE, BARE, BARE_LINES)), ""
    ai = rng.choice(("Pebble", "pebble", voice.folder.split("/")[-1] or "ai", name(rng, split)))
    return raw(rng, split, name(rng, split), ai), system


def converse(rng: Random, split: Split = "train", longest: int = 40) -> Conversation:
    """A whole conversation of one to `longest` turns; the encoding may cut it."""
    voice = pick_voice(rng)
    form, system = frame(rng, split, voice)
    count = min(longest, rng.choices((1, 2, 3, 4, 6, 40), (42, 20, 17, 13, 7, 1))[0])
    turns = [ask(rng, split, voice) for _ in range(count)]
    if count >= 2 and rng.random() < 0.65:
        for _ in range(1 + count // 12):
            told, asked = recall(rng, split, voice)
            first = rng.randrange(count - 1)
            turns[first], turns[min(count - 1, first + rng.randint(1, 4))] = told, asked
    elif count == 1 and rng.random() < 0.04:
        turns = [recall(rng, split, voice)[0]]
    return Conversation(voice, form, system, tuple(_careless(rng, turn) for turn in turns))
