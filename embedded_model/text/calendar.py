"""Questions about the day or month before or after another."""

from __future__ import annotations

from random import Random

from embedded_model.text.data import listed
from embedded_model.text.exchange import Exchange, says
from embedded_model.text.split import Split, wordings

DAYS, MONTHS = listed("days"), listed("months")


_AFTER = wordings("calendar", "after")
_BEFORE = wordings("calendar", "before")


def neighbour(rng: Random, split: Split) -> Exchange:
    """What day comes after Monday? What month is before May?"""
    kind, ring = rng.choice((("day", DAYS), ("month", MONTHS)))
    place = rng.randrange(len(ring))
    if rng.random() < 0.5:
        wordings, other, relation = _AFTER, ring[(place + 1) % len(ring)], "after"
    else:
        wordings, other, relation = _BEFORE, ring[place - 1], "before"
    question = wordings.pick(rng, split).format(kind=kind, x=ring[place])
    answer = f"The {kind} {relation} {ring[place]} is {other}."
    return Exchange("days and months", question, answer, says(other))
