"""Stories in French: one short plot in many wordings."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange
from embedded_model.text.split import Split, wordings
from embedded_model.text.words import hero_and_friend

_ASK = wordings("french_stories", "ask")
_SENTENCES = (
    ("Il était une fois {h}, qui vivait dans {p}.", "Dans {p} vivait autrefois {h}."),
    ("Un matin, {h} ne trouva plus {t}.", "Un jour, {t} de la maison avait disparu."),
    (
        "{h} chercha sous le lit, derrière la porte et dans le jardin.",
        "{h} chercha partout, du matin au soir.",
    ),
    (
        "Alors {f} vint et dit : « Cherchons ensemble. »",
        "Par bonheur, {f} passait par là et voulut aider.",
    ),
    (
        "Le soir, {f} vit quelque chose sous un vieil arbre : c'était {t} !",
        "Au bord de la rivière, {f} retrouva {t}.",
    ),
    ("Depuis ce jour, {h} et {f} sont amis. Fin.", "{h} et {f} rentrèrent en chantant. Fin."),
)
_PLACES = (
    "un petit village",
    "une maison au bord de la mer",
    "une vallée tranquille",
    "un vieux château",
)
_THINGS = ("la clé", "le chat", "la lampe", "le violon", "la couronne", "le chapeau", "la montre")


def story(rng: Random, split: Split) -> Exchange:
    """Raconte-moi une histoire."""
    text = " ".join(rng.choice(ways) for ways in _SENTENCES)
    hero, friend = hero_and_friend(rng)
    text = text.format(h=hero, f=friend, p=rng.choice(_PLACES), t=rng.choice(_THINGS))
    return Exchange(
        "french stories",
        _ASK.pick(rng, split),
        text,
        lambda answer: "Fin." in answer and len(answer.split()) > 30,
    )
