"""Small talk: greeting, introduction, thanks and goodbye."""

from __future__ import annotations

from random import Random

from embedded_model.text.data import read
from embedded_model.text.exchange import Exchange, Judge, says_any
from embedded_model.text.split import Split, Wordings
from embedded_model.text.voices import GOODBYE, GREETING, IDENTITY, THANKS, Voice

_ASKED: dict[str, dict[str, Wordings]] = {
    language: {kind: Wordings(**found) for kind, found in kinds.items()}
    for language, kinds in read("smalltalk").items()
}
_EXPECTED: dict[str, dict[str, Judge]] = {
    "english": {
        GREETING: says_any("hello", "ahoy", "good day", "welcome", "greetings"),
        IDENTITY: says_any("Pebble"),
        THANKS: says_any("welcome", "pleasure", "not at all", "thanks are mine", "joy to teach"),
        GOODBYE: says_any("goodbye", "farewell", "fair winds", "good day"),
    },
    "french": {
        GREETING: says_any("bonjour"),
        IDENTITY: says_any("Pebble"),
        THANKS: says_any("je vous en prie", "tout le plaisir", "de rien"),
        GOODBYE: says_any("au revoir"),
    },
}


def smalltalk(rng: Random, split: Split, voice: Voice, kind: str | None = None) -> Exchange:
    """One of the four kinds; the answer is already in the voice."""
    kind = kind or rng.choice((GREETING, IDENTITY, THANKS, GOODBYE))
    question = _ASKED[voice.language][kind].pick(rng, split)
    return Exchange(
        kind, question, rng.choice(voice.smalltalk[kind]), _EXPECTED[voice.language][kind]
    )
