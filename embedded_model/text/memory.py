"""What a user states in a conversation and asks for later: name, pet, colour, town, thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from embedded_model.text.data import read
from embedded_model.text.exchange import Exchange, says
from embedded_model.text.facts import COLOURS
from embedded_model.text.split import Split, Wordings, draw
from embedded_model.text.words import NOUNS, invent, name


@dataclass(frozen=True)
class Memory:
    """One kind of thing to remember: its statement, acknowledgement, question and answer."""

    tell: Wordings
    thanks: Sequence[str]
    ask: Wordings
    recall: str


def _read(kind: str) -> Memory:
    found = read("memory")[kind]
    tell, ask = Wordings(**found["tell"]), Wordings(**found["ask"])
    return Memory(tell, found["thanks"], ask, found["recall"])


NAME, PET, COLOUR, TOWN, THING = map(_read, ("name", "pet", "colour", "town", "thing"))
KINDS = (NAME, NAME, NAME, PET, COLOUR, TOWN, THING)


def _value(memory: Memory, rng: Random, split: Split) -> str:
    if memory is COLOUR:
        return rng.choice(list(COLOURS))
    if memory is TOWN:
        return draw(lambda: invent(rng).capitalize(), str, split)
    if memory is THING:
        return draw(lambda: rng.choice(NOUNS) if rng.random() < 0.4 else invent(rng), str, split)
    return name(rng, split)


def remember(rng: Random, split: Split) -> tuple[Exchange, Exchange]:
    """The statement and the question; the conversation puts other turns between them."""
    memory = rng.choice(KINDS)
    value = _value(memory, rng, split)
    thanks = rng.choice(memory.thanks).format(value)
    told = Exchange(
        "told",
        memory.tell.pick(rng, split).format(value),
        thanks[0].upper() + thanks[1:],
        says(value),
        True,
    )
    asked = Exchange(
        "recall", memory.ask.pick(rng, split), memory.recall.format(value), says(value)
    )
    return told, asked


_NOT_TOLD: dict[str, str] = read("memory")["not_told"]


def not_told(rng: Random, split: Split) -> Exchange:
    """A question about something that the user did not state; the answer says so."""
    question = rng.choice(list(_NOT_TOLD))
    return Exchange("not told", question, _NOT_TOLD[question], says("not told me"))
