"""How does Pebble tell a story? Five plots with many wordings, one hero, one friend, and an ending."""

from __future__ import annotations

import re
from random import Random

from embedded_model.text.exchange import Exchange, Judge
from embedded_model.text.split import Split, Wordings, draw
from embedded_model.text.words import name

THINGS = """apple arrow ball balloon basket bell bicycle boat book bottle bowl box bridge broom brush bucket button cage candle
canoe carpet carrot castle chain chair chest clock cloud coat coin crown cup diamond doll door drum egg feather flag flower flute
fountain garden gift guitar hammer hat horn house jewel kettle key kite ladder lamp lantern leaf letter lighthouse map mask medal
mirror needle nest orange painting pearl pencil piano pillow pumpkin puppet ring robot rocket rope rose sail shell ship shoe shovel
sled snowman spoon star statue stone sword table teapot tent tower train tree trumpet umbrella vase violin wagon watch well
wheel whistle windmill""".split()

_ASK = Wordings(
    train=(
        "Tell me a story about {t}.", "Tell a story about {t}.", "Write a story about {t}.", "Can you tell me a story about {t}?",
        "I want a story about {t}.", "A story about {t}, please.", "Write a short story about {t}.", "Make up a story about {t}.",
        "Tell us a tale about {t}.", "story about {t}", "Please tell a story about {t}.", "Tell me a little story of {t}.",
        "Do you know a story about {t}?",
    ),
    held_out=("Please tell me a story about {t}.", "Could you write a story about {t}?", "I would like to hear a story about {t}."),
)  # fmt: skip
_ASK_ANY = Wordings(
    train=("Tell me a story.", "Tell a story.", "Write a short story.", "Can you tell me a story?", "I want to hear a story."),
    held_out=("Please tell me a story.",),
)

# Each plot is a list of sentences, each with its wordings. {h} hero, {f} friend, {t} the thing, {p} place, {a} adjective.
_OPENINGS = (
    "Once upon a time there was a {a} child called {h} who lived in {p}.",
    "Once there was a {a} girl called {h} in {p}.",
    "Long ago, in {p}, lived a {a} boy named {h}.",
    "In {p} there lived a {a} baker called {h}.",
)
_PLOTS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (  # lost and found
        ("{h} had a {t} and loved it more than anything else.", "{h} owned a wonderful {t} and took it everywhere."),
        ("One morning the {t} was gone.", "One day the {t} could not be found."),
        ("{h} looked under the bed, behind the door and in the garden, but the {t} was not there.",
         "{h} searched the whole house, but there was no {t} to be seen."),
        ("Then a friend called {f} came by and asked what was wrong.", "Then {f}, the best friend of {h}, knocked at the door."),
        ('"Do not be sad," said {f}. "We will look for it together."', '"Let us look for it together," said {f}.'),
        ("They walked through the village and asked everybody they met.", "They went along the river and up the hill."),
        ("At last {f} saw something under an old tree. It was the {t}!", "In the evening they found the {t} under a bridge."),
        ("{h} was so happy that the two friends danced all the way home.", "{h} thanked {f} and they laughed all the way home."),
    ),
    (  # a gift that is shared
        ("One day {h} found a {t} at the side of the road.", "One morning a {t} lay in front of the door of {h}."),
        ("It was no ordinary {t}, for it shone like the moon.", "It was the most beautiful {t} in the whole land."),
        ('"I will keep it for myself," thought {h}.', '"Nobody else may have it," said {h}.'),
        ("But alone it was no fun, and {h} became sad.", "But soon {h} felt lonely with it."),
        ("Next door lived {f}, who had nothing to play with.", "In the next house lived {f}, who was often alone."),
        ("So {h} knocked and said: \"Look, I have a {t}. Let us share it.\"", "So {h} took the {t} and brought it to {f}."),
        ("{f} smiled and opened the door wide.", "{f} was so glad that a song came out."),
        ("From that day on they shared the {t} and were friends.", "From then on {h} and {f} met every day and shared it."),
    ),
    (  # fear overcome
        ("{h} was afraid of only one thing: the {t} on the hill.", "Everybody there was afraid of the {t}, and {h} was too."),
        ("At night one could hear strange sounds from it.", "People said that it made strange sounds at night."),
        ("One evening {f} said: \"Come, let us see what it is.\"", "One evening a friend called {f} said: \"Let us go and look.\""),
        ("{h} took a lamp, and they went up the dark path.", "They took a lamp and walked into the dark."),
        ("The {t} stood there in the light of the moon.", "There it was, the {t}, in the light of the lamp."),
        ("And on it sat a tiny bird that sang a sad song.", "And next to it sat a tiny kitten that was crying."),
        ('"It was only you!" said {h} and laughed.', '"So it was you all the time," said {h}.'),
        ("{h} and {f} took it home and gave it warm milk.", "{f} and {h} carried it home, where it was warm."),
        ("After that night {h} was never afraid again.", "Since then nobody has been afraid of the {t}."),
    ),
    (  # a wish
        ("{h} dreamed of a {t} every night.", "More than anything {h} wished for a {t}."),
        ("But a {t} was dear, and {h} had only three coins.", "But {h} was poor and had only three coins."),
        ("So {h} went to work in the mill of old {f}.", "So {h} went to {f}, who had a farm, and asked for work."),
        ("All summer long {h} carried heavy sacks and did not complain.", "All summer {h} worked hard from morning to night."),
        ("{f} saw it and was pleased.", "{f} watched and was pleased with such good work."),
        ("When autumn came, {f} said: \"You have helped me well. Close your eyes.\"", "On the last day {f} said: \"Now close your eyes.\""),
        ("When {h} looked again, there was the {t}.", "And when {h} opened them, there stood a {t}."),
        ("{h} jumped for joy and thanked {f} a hundred times.", "{h} cried for joy and hugged {f}."),
    ),
    (  # a journey
        ("One day {h} heard of a golden {t} beyond the mountains.", "One day a bird told {h} of a magic {t} far away."),
        ("{h} packed some bread and set out before the sun was up.", "{h} put some bread in a bag and began to walk."),
        ("On the way {h} met {f}, who was hungry, and shared the bread.", "On the road sat {f}, tired and hungry, and {h} gave away the bread."),
        ("\"Because you are kind, I will show you the way,\" said {f}.", "\"You are kind. I will come with you,\" said {f}."),
        ("They crossed a river, a forest and a field of snow.", "They walked for three days and three nights."),
        ("At last they stood before the {t}, and it shone like the sun.", "At last they saw the {t} on top of a rock."),
        ("But {h} said: \"The best thing that I found is a friend.\"", "But {h} looked at {f} and said: \"I have found a friend, that is more.\""),
        ("So they left it there for others to see and went home together.", "So they went home together, happier than before."),
    ),
)  # fmt: skip
_ENDINGS = ("And they lived happily ever after. The end.", "The end.", "And that is how it was. The end.")
_PLACES = ("a small village", "a town by the sea", "a house in the forest", "a quiet valley", "a little house on a hill", "an old castle")
_MANNERS = ("kind", "brave", "clever", "quiet", "cheerful", "curious")


def compose(rng: Random, thing: str, hero: str, friend: str) -> str:
    """One story of 60 to 150 words."""
    plot = rng.choice(_PLOTS)
    parts = [rng.choice(_OPENINGS), *(rng.choice(ways) for ways in plot), rng.choice(_ENDINGS)]
    place, manner = rng.choice(_PLACES), rng.choice(_MANNERS)
    text = " ".join(parts).format(h=hero, f=friend, t=thing, p=place, a=manner)
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


def names_in(text: str) -> set[str]:
    """The capitalised words that stand inside sentences, which are names in these stories."""
    return set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", text))


def well_told(thing: str, hero: str | None) -> Judge:
    """60 to 150 words, on the thing, with the asked hero, at most two names, both used again, and an ending."""

    def judge(answer: str) -> bool:
        names = names_in(answer) - {"Once", "Long", "And", "But"}
        steady = 1 <= len(names) <= 2 and all(len(re.findall(rf"\b{n}\b", answer)) >= 2 for n in names)
        fits = 60 <= len(answer.split()) <= 150 and thing in answer and (hero is None or hero in names)
        return fits and steady and "The end." in answer

    return judge


def story(rng: Random, split: Split) -> Exchange:
    """Tell me a story about a lamp. Things and heroes of the evaluation are never told of in training."""
    thing = draw(lambda: rng.choice(THINGS), lambda noun: f"story {noun}", split)
    hero, friend = name(rng, "train"), name(rng, "train")
    shown = f"an {thing}" if thing[0] in "aeio" else f"a {thing}"
    chance = rng.random()
    if chance < 0.3:
        hero = name(rng, split)
        asked, judge = f"{hero} and {shown}", well_told(thing, hero)
    else:
        asked, judge = shown, well_told(thing, None)
    question = _ASK.pick(rng, split).format(t=asked)
    if chance > 0.92:
        question, judge = _ASK_ANY.pick(rng, split), well_told("", None)
        thing = rng.choice(("lamp", "kite", "boat", "bell"))
    return Exchange("stories", question, compose(rng, thing, hero, friend), judge, True)
