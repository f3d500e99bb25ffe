"""Stories in English: five plots in many wordings, with a hero, a friend and an ending."""

from __future__ import annotations

import re
from random import Random

from embedded_model.text.data import listed, read
from embedded_model.text.exchange import Exchange, Judge
from embedded_model.text.split import Split, draw, wordings
from embedded_model.text.words import hero_and_friend, name

THINGS = listed("things")

_ASK = wordings("stories", "ask")
_ASK_ANY = wordings("stories", "ask_any")

_TALES = read("tales")
_PLACES = (
    "a small village",
    "a town by the sea",
    "a house in the forest",
    "a quiet valley",
    "a little house on a hill",
    "an old castle",
)
_MANNERS = ("kind", "brave", "clever", "quiet", "cheerful", "curious")


def compose(rng: Random, thing: str, hero: str, friend: str) -> str:
    """One story of 60 to 150 words."""
    plot = rng.choice(_TALES["plots"])
    opening, ending = _TALES["openings"], _TALES["endings"]
    parts = [rng.choice(opening), *(rng.choice(ways) for ways in plot), rng.choice(ending)]
    place, manner = rng.choice(_PLACES), rng.choice(_MANNERS)
    text = " ".join(parts).format(h=hero, f=friend, t=thing, p=place, a=manner)
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def names_in(text: str) -> set[str]:
    """Capitalised words inside sentences, which are names in these stories."""
    return set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", text))


def well_told(thing: str, hero: str | None) -> Judge:
    """60 to 150 words with the thing, the requested hero, a friend of another name, both named
    twice, and an end."""

    def judge(answer: str) -> bool:
        names = names_in(answer) - {"Once", "Long", "And", "But"}
        steady = len(names) == 2 and all(len(re.findall(rf"\b{n}\b", answer)) >= 2 for n in names)
        fits = (
            60 <= len(answer.split()) <= 150 and thing in answer and (hero is None or hero in names)
        )
        return fits and steady and "The end." in answer

    return judge


def story(rng: Random, split: Split) -> Exchange:
    """Tell me a story about a lamp. The evaluation's things and heroes are not in training."""
    thing = draw(lambda: rng.choice(THINGS), lambda noun: f"story {noun}", split)
    hero, friend = hero_and_friend(rng)
    shown = f"an {thing}" if thing[0] in "aeio" else f"a {thing}"
    chance = rng.random()
    if chance < 0.3:
        hero = name(rng, split)
        while hero == friend:
            _, friend = hero_and_friend(rng)
        asked, judge = f"{hero} and {shown}", well_told(thing, hero)
    else:
        asked, judge = shown, well_told(thing, None)
    question = _ASK.pick(rng, split).format(t=asked)
    if chance > 0.92:
        question, judge = _ASK_ANY.pick(rng, split), well_told("", None)
        thing = rng.choice(("lamp", "kite", "boat", "bell"))
    return Exchange("stories", question, compose(rng, thing, hero, friend), judge, True)
