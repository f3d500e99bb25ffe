"""Poems of four lines about a thing, combined from couplets."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, Judge
from embedded_model.text.split import Split, draw, wordings
from embedded_model.text.stories import THINGS

_ASK = wordings("poems", "ask")
_FIRST = (
    "O little {t}, so small, so bright,\nyou kept me company last night.",
    "I saw a {t} upon the hill,\nand all the world was calm and still.",
    "There stood a {t} beside the sea,\nand it was all the world to me.",
    "A {t}, a {t}, what can it be?\nIt shines for you, it shines for me.",
)
_SECOND = (
    "The wind went by, the day was long,\nand so the {t} became my song.",
    "And when the stars begin to glow,\nI tell the {t} all that I know.",
    "The moon looked down and softly said:\nnow take your {t} and go to bed.",
    "I kept it in my heart since then,\nand I shall see the {t} again.",
)


def _rhymes_on(thing: str) -> Judge:
    return lambda answer: (
        thing in answer and len([line for line in answer.splitlines() if line]) >= 4
    )


def poem(rng: Random, split: Split) -> Exchange:
    """Write a poem about a lamp."""
    thing = draw(lambda: rng.choice(THINGS), lambda noun: f"poem {noun}", split)
    shown = f"an {thing}" if thing[0] in "aeio" else f"a {thing}"
    text = f"{rng.choice(_FIRST)}\n{rng.choice(_SECOND)}".format(t=thing)
    text = text.replace(f"a {thing}", shown).replace(f"A {thing}", shown.capitalize())
    return Exchange("poems", _ASK.pick(rng, split).format(t=shown), text, _rhymes_on(thing), True)
