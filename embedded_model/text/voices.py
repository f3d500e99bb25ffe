"""Voices: the ways of speaking of the shipped personalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from embedded_model.text.data import read
from embedded_model.text.exchange import squeeze

GREETING, IDENTITY, THANKS, GOODBYE = "greeting", "who are you", "thanks", "goodbye"


@dataclass(frozen=True)
class Voice:
    """A way of speaking. `systems` are other wordings of the personality's conditioning."""

    folder: str  # under personalities/; "" for the plain voice
    language: str
    systems: Sequence[str]
    held_out: Sequence[str]
    openers: Sequence[str]
    closers: Sequence[str]
    smalltalk: dict[str, Sequence[str]]
    marks: Sequence[str]

    def dress(self, rng: Random, answer: str) -> str:
        """The plain answer in this voice."""
        return " ".join(
            part for part in (rng.choice(self.openers), answer, rng.choice(self.closers)) if part
        )

    def heard_in(self, answer: str) -> bool:
        """Whether the answer is in this voice."""
        return not self.marks or any(mark in squeeze(answer) for mark in self.marks)


PLAIN, PIRATE, BUTLER, POET, ROBOT, OWL, CONCIERGE, MAMIE, PLAIN_FRENCH = (
    Voice(**read(f"voices/{name}"))
    for name in [
        "plain",
        "pirate",
        "butler",
        "poet",
        "robot",
        "owl",
        "concierge",
        "mamie",
        "plain_french",
    ]
)
SHIPPED = (PIRATE, BUTLER, POET, ROBOT, OWL, CONCIERGE, MAMIE)
ENGLISH = (PLAIN, PIRATE, BUTLER, POET, ROBOT, OWL)
FRENCH = (PLAIN_FRENCH, CONCIERGE, MAMIE)
