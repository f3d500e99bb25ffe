"""What does Pebble know in French? Less than in English: what its French personalities need."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, ends_in_number, lists_exactly, says, says_any
from embedded_model.text.numbers import explain_difference, explain_product, explain_sum
from embedded_model.text.split import Split, Wordings, draw
from embedded_model.text.unknown import MARKS_FRENCH
from embedded_model.text.words import NOUNS, name

_CAPITALS = {
    "la France": "Paris", "l'Allemagne": "Berlin", "l'Italie": "Rome", "l'Espagne": "Madrid", "le Portugal": "Lisbonne",
    "l'Angleterre": "Londres", "l'Irlande": "Dublin", "la Belgique": "Bruxelles", "l'Autriche": "Vienne", "la Suisse": "Berne",
    "la Pologne": "Varsovie", "la Norvège": "Oslo", "la Suède": "Stockholm", "la Grèce": "Athènes", "la Russie": "Moscou",
    "le Japon": "Tokyo", "la Chine": "Pékin", "l'Égypte": "Le Caire", "le Maroc": "Rabat", "le Canada": "Ottawa",
}  # fmt: skip
_COLOURS = {
    "le ciel": "bleu", "la mer": "bleue", "l'herbe": "verte", "une grenouille": "verte", "une banane": "jaune", "le soleil": "jaune",
    "un citron": "jaune", "une tomate": "rouge", "une fraise": "rouge", "une carotte": "orange", "la neige": "blanche", "le lait": "blanc",
    "le charbon": "noir", "la nuit": "noire", "le chocolat": "brun", "un éléphant": "gris",
}  # fmt: skip
_OPPOSITES = (
    ("chaud", "froid"), ("grand", "petit"), ("haut", "bas"), ("jour", "nuit"), ("rapide", "lent"), ("vieux", "jeune"), ("bon", "mauvais"),
    ("clair", "sombre"), ("ouvert", "fermé"), ("plein", "vide"), ("dur", "mou"), ("long", "court"), ("riche", "pauvre"), ("fort", "faible"),
)  # fmt: skip
_SOUNDS = {
    "la vache": "meuh", "le chien": "ouaf", "le chat": "miaou", "le canard": "coin-coin", "le mouton": "bêê", "le coq": "cocorico",
    "le lion": "grrr", "l'abeille": "bzz",
}  # fmt: skip
_DAYS = "lundi mardi mercredi jeudi vendredi samedi dimanche".split()
_MONTHS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()

_CAPITAL = Wordings(
    ("Quelle est la capitale de {} ?", "Donnez-moi la capitale de {}.", "Dis-moi la capitale de {}.", "La capitale de {} ?",
     "Quelle ville est la capitale de {} ?", "Quelle est la capitale de {}", "Connais-tu la capitale de {} ?"),
    ("Pouvez-vous me dire la capitale de {} ?", "Quelle est donc la capitale de {} ?"),
)  # fmt: skip
_COLOUR = Wordings(
    ("De quelle couleur est {} ?", "Quelle est la couleur de {} ?", "Dis-moi la couleur de {}.", "La couleur de {} ?", "{} : quelle couleur ?"),
    ("Peux-tu me dire de quelle couleur est {} ?", "Donnez-moi la couleur de {}."),
)
_OPPOSITE = Wordings(
    ("Quel est le contraire de {} ?", "Le contraire de {} ?", "Dis-moi le contraire de {}.", "Donne le contraire de {}.",
     "Quel mot est le contraire de {} ?"),
    ("Donnez-moi le contraire de {}.", "Connais-tu le contraire de {} ?"),
)  # fmt: skip
_SOUND = Wordings(
    ("Que dit {} ?", "Quel bruit fait {} ?", "Quel est le cri de {} ?", "Que fait {} ?", "Comment crie {} ?"),
    ("Dis-moi ce que dit {}.", "Quel cri pousse {} ?"),
)
_AFTER = Wordings(
    ("Quel {k} vient après {x} ?", "Quel {k} suit {x} ?", "Quel est le {k} après {x} ?", "Après {x}, quel {k} vient ?"),
    ("Dis-moi le {k} qui vient après {x}.",),
)
_BEFORE = Wordings(
    ("Quel {k} vient avant {x} ?", "Quel {k} précède {x} ?", "Quel est le {k} avant {x} ?", "Avant {x}, quel {k} vient ?"),
    ("Dis-moi le {k} qui vient avant {x}.",),
)
_CALCULATE = Wordings(
    ("Combien font {} ?", "{}", "{} ?", "Calcule {}.", "Combien fait {} ?", "Calculez {}.", "Dis-moi combien font {}."),
    ("Peux-tu calculer {} ?", "Ça fait combien, {} ?"),
)
_COUNT = Wordings(
    ("Compte de {} à {}.", "Comptez de {} à {}.", "Compte de {} à {}", "Peux-tu compter de {} à {} ?", "Donne les nombres de {} à {}."),
    ("Pouvez-vous compter de {} à {} ?", "Compte donc de {} à {}."),
)
_UNKNOWN = Wordings(
    ("Quel temps fait-il ?", "Quelle heure est-il ?", "Quel jour sommes-nous ?", "Qui est le président ?", "Qui a gagné le match ?",
     "Combien coûte une voiture ?", "Explique la physique quantique.", "Où habite {n} ?", "Qui est {n} ?", "Quel âge a {n} ?",
     "Quelles sont les nouvelles ?", "Écris un programme.", "Où est la gare ?", "Réserve une table pour deux.", "Que va-t-il arriver demain ?",
     "Comment marche un ordinateur ?", "Qui a inventé le téléphone ?", "Quand part le train ?", "Combien d'habitants a {p} ?",
     "Quelle est la recette du gâteau ?", "Comment faire fortune ?", "Quel film faut-il voir ?", "Où se trouve {p} ?",
     "Quel est le prix de l'or ?", "Quand est né {n} ?", "Que pense {n} ?", "Quel est le meilleur vin ?", "Va-t-il pleuvoir demain ?"),
    ("Quel temps fera-t-il demain ?", "Qui est le roi de {p} ?", "Combien coûte un billet ?", "Que fait {n} ?", "Comment marche une montre ?",
     "Qui a écrit ce livre ?", "Quand ouvre le magasin ?"),
)  # fmt: skip
_ANSWERS = ("Je ne sais pas cela. Je ne suis qu'un petit modèle de démonstration.",
            "Cela me dépasse. Je ne suis qu'un petit modèle de démonstration.")  # fmt: skip
_TELL = Wordings(
    ("Je m'appelle {}.", "Bonjour, je m'appelle {}.", "Mon nom est {}.", "Je suis {}.", "Appelle-moi {}.", "Salut, je suis {}."),
    ("Bonjour, mon nom est {}.", "Appelez-moi {}."),
)
_ASK = Wordings(
    ("Comment je m'appelle ?", "Quel est mon nom ?", "Tu connais mon nom ?", "Qui suis-je ?", "Dis-moi mon nom.", "Quel était mon nom ?"),
    ("Vous souvenez-vous de mon nom ?", "Comment est-ce que je m'appelle ?"),
)
_REPEAT = Wordings(
    ("Répète : {}", "Répétez : {}", "Répète après moi : {}", "Dis : {}", "Répète ces mots : {}"), ("Répétez après moi : {}", "Dites : {}")
)


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
        return Exchange("french facts", question, f"La capitale {_of(land)} est {_CAPITALS[land]}.", says(_CAPITALS[land]))
    if kind == 1:
        thing = rng.choice(list(_COLOURS))
        question = _upper(_COLOUR.pick(rng, split).format(thing).replace("de le ", "du "))
        return Exchange("french facts", question, f"{_upper(thing)} est {_COLOURS[thing]}.", says(_COLOURS[thing]))
    if kind == 2:
        pair = list(rng.choice(_OPPOSITES))
        rng.shuffle(pair)
        question = _OPPOSITE.pick(rng, split).format(pair[0])
        return Exchange("french facts", question, f"Le contraire de {pair[0]} est {pair[1]}.", says(pair[1]))
    animal = rng.choice(list(_SOUNDS))
    question = _SOUND.pick(rng, split).format(animal).replace("de le ", "du ")
    return Exchange("french facts", question, f"{_upper(animal)} dit {_SOUNDS[animal]}.", says(_SOUNDS[animal]))


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
    """A calculation or counting: the same ways as in English, asked in French."""
    kind = rng.randrange(4)
    a, b = draw(lambda: (rng.randint(0, 10), rng.randint(0, 10)), lambda p: f"fr{kind}{min(p)},{max(p)}", split)
    if kind == 0:
        return Exchange("french numbers", _CALCULATE.pick(rng, split).format(f"{a} + {b}"), explain_sum(a, b), ends_in_number(a + b))
    if kind == 1:
        a, b = max(a, b), min(a, b)
        return Exchange("french numbers", _CALCULATE.pick(rng, split).format(f"{a} - {b}"), explain_difference(a, b), ends_in_number(a - b))
    if kind == 2:
        return Exchange("french numbers", _CALCULATE.pick(rng, split).format(f"{a} x {b}"), explain_product(a, b), ends_in_number(a * b))
    numbers = list(range(min(a, b), max(a, b) + 3))
    question = _COUNT.pick(rng, split).format(numbers[0], numbers[-1])
    return Exchange("french numbers", question, ", ".join(map(str, numbers)) + ".", lists_exactly(numbers))


def repeat(rng: Random, split: Split) -> Exchange:
    """Répète : un mot, deux mots."""
    words = " ".join(name(rng, split) if rng.random() < 0.5 else rng.choice(NOUNS) for _ in range(rng.randint(1, 4)))
    return Exchange("french repeating", _REPEAT.pick(rng, split).format(words), f"Vous avez dit : {words}", says(words), True)


def unknown(rng: Random, split: Split) -> Exchange:
    """What it cannot know."""
    land = rng.choice(list(_CAPITALS))
    question = _UNKNOWN.pick(rng, split).format(n=name(rng, split), p=land).replace("de le ", "du ")
    return Exchange("french cannot know", question, rng.choice(_ANSWERS), says_any(*MARKS_FRENCH))


def remember(rng: Random, split: Split) -> tuple[Exchange, Exchange]:
    """The name that the user told."""
    who = name(rng, split)
    told = Exchange("french told", _TELL.pick(rng, split).format(who), f"Enchanté, {who} !", says(who), True)
    return told, Exchange("french recall", _ASK.pick(rng, split), f"Vous vous appelez {who}.", says(who))
