"""What does Pebble know of the world? Capitals, colours, opposites, animals and their sounds."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, says
from embedded_model.text.split import Split, Wordings

CAPITALS = dict(
    pair.split("=")
    for pair in """France=Paris Germany=Berlin Italy=Rome Spain=Madrid Portugal=Lisbon England=London Ireland=Dublin
Scotland=Edinburgh Belgium=Brussels Netherlands=Amsterdam Austria=Vienna Switzerland=Bern Poland=Warsaw
Norway=Oslo Sweden=Stockholm Finland=Helsinki Denmark=Copenhagen Iceland=Reykjavik Greece=Athens Turkey=Ankara
Russia=Moscow Ukraine=Kyiv Hungary=Budapest Romania=Bucharest Bulgaria=Sofia Croatia=Zagreb Serbia=Belgrade
Japan=Tokyo China=Beijing India=Delhi Korea=Seoul Thailand=Bangkok Vietnam=Hanoi Indonesia=Jakarta Nepal=Kathmandu
Iran=Tehran Iraq=Baghdad Egypt=Cairo Morocco=Rabat Tunisia=Tunis Algeria=Algiers Kenya=Nairobi Senegal=Dakar
Ghana=Accra Canada=Ottawa Cuba=Havana Peru=Lima Chile=Santiago Brazil=Brasilia Colombia=Bogota Australia=Canberra""".split()
)
COLOURS = {
    colour: [thing.replace("_", " ") for thing in things.split()]
    for colour, things in {
        "blue": "the_sky the_sea a_blueberry",
        "green": "grass a_frog a_leaf a_cucumber a_lime spinach",
        "yellow": "a_banana the_sun a_lemon a_chick butter a_sunflower",
        "red": "a_tomato blood a_strawberry a_cherry a_fire_engine a_ladybird",
        "orange": "a_carrot a_pumpkin a_mandarin",
        "white": "snow milk salt a_swan a_polar_bear",
        "black": "coal the_night a_raven tar",
        "brown": "chocolate mud a_chestnut coffee",
        "pink": "a_flamingo a_pig",
        "purple": "lavender an_aubergine a_plum",
        "grey": "an_elephant ash a_mouse a_rain_cloud",
    }.items()
    for things in [things]
}
OPPOSITES = [
    tuple(pair.split("/"))
    for pair in """hot/cold big/small up/down day/night happy/sad fast/slow old/young good/bad light/dark open/closed
wet/dry full/empty hard/soft high/low left/right long/short loud/quiet near/far early/late rich/poor strong/weak
thick/thin true/false clean/dirty black/white first/last heavy/weightless in/out inside/outside love/hate
begin/end push/pull give/take win/lose buy/sell laugh/cry above/below always/never before/after easy/difficult
front/back north/south east/west sharp/blunt smooth/rough sweet/sour tall/tiny wide/narrow wild/tame
brave/cowardly cheap/expensive deep/shallow alive/dead awake/asleep friend/enemy war/peace question/answer
summer/winter sunrise/sunset arrive/leave remember/forget more/less""".split()
]
SOUNDS = dict(
    pair.split("=")
    for pair in """cow=moo dog=woof cat=meow duck=quack sheep=baa pig=oink horse=neigh lion=roar bee=buzz snake=hiss
frog=ribbit owl=hoot rooster=cock-a-doodle-doo mouse=squeak donkey=hee-haw wolf=awoo crow=caw goose=honk
turkey=gobble hen=cluck bird=tweet goat=meh elephant=toot monkey=ooh-ooh""".split()
)

_CAPITAL = Wordings(
    train=(
        "What is the capital of {}?", "What's the capital of {}?", "Capital of {}?", "Tell me the capital of {}.",
        "Which city is the capital of {}?", "Name the capital of {}.", "Do you know the capital of {}?",
        "What city is the capital of {}?", "Can you tell me the capital of {}?", "{}: what is its capital?",
        "I want to know the capital of {}.", "What is the capital city of {}?", "Please give me the capital of {}.",
        "the capital of {} is which city?", "What is {}'s capital?", "Say the capital of {}.",
    ),
    held_out=(
        "Could you tell me what the capital of {} is?", "Which city is {}'s capital?", "Give me the capital of {}, please.",
    ),
)  # fmt: skip
_COLOUR = Wordings(
    train=(
        "What colour is {}?", "What color is {}?", "Which colour is {}?", "Tell me the colour of {}.",
        "What is the colour of {}?", "Do you know what colour {} is?", "Name the colour of {}.", "colour of {}?",
        "Can you tell me the color of {}?", "What is the color of {}?", "Which color does {} have?",
        "What's the colour of {}?", "I forgot what colour {} is.", "Say what colour {} is.",
    ),
    held_out=("Can you tell me what colour {} is?", "What colour does {} have?", "Please tell me the color of {}."),
)  # fmt: skip
_OPPOSITE = Wordings(
    train=(
        "What is the opposite of {}?", "What's the opposite of {}?", "Opposite of {}?", "Tell me the opposite of {}.",
        "Name the opposite of {}.", "Which word is the opposite of {}?", "Give me the opposite of {}.",
        "Do you know the opposite of {}?", "What is the contrary of {}?", "What word means the opposite of {}?",
        "{}: what is the opposite?", "Can you say the opposite of {}?", 'What is the opposite of the word "{}"?',
    ),
    held_out=("Could you give me the opposite of {}?", "What would be the opposite of {}?", "Say the opposite of {}."),
)  # fmt: skip
_SOUND = Wordings(
    train=(
        "What sound does a {} make?", "What does a {} say?", "What noise does a {} make?", "How does a {} sound?",
        "Which sound does the {} make?", "What does the {} say?", "Tell me what a {} says.", "sound of a {}?",
        "Do you know what sound a {} makes?", "Make the sound of a {}.", "What is the sound of a {}?",
        "What noise comes from a {}?",
    ),
    held_out=("Can you tell me what sound a {} makes?", "Which noise does a {} make?", "What do you hear when a {} speaks?"),
)  # fmt: skip
_WHO_SAYS = Wordings(
    train=("Which animal says {}?", "What animal says {}?", "Who says {}?", "Name the animal that says {}.",
           "What animal makes the sound {}?", "Which animal goes {}?"),
    held_out=("Tell me which animal says {}.", "What animal goes {}?"),
)  # fmt: skip


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _repair(question: str) -> str:
    return question.replace(" a elephant", " an elephant").replace(" a owl", " an owl")


def capital(rng: Random, split: Split) -> Exchange:
    """What is the capital of France?"""
    country = rng.choice(list(CAPITALS))
    city = CAPITALS[country]
    shown = f"the {country}" if country == "Netherlands" else country
    question = _CAPITAL.pick(rng, split).format(shown)
    return Exchange("capitals", question, f"The capital of {shown} is {city}.", says(city))


def colour(rng: Random, split: Split) -> Exchange:
    """What colour is the sky?"""
    value = rng.choice(list(COLOURS))
    thing = rng.choice(COLOURS[value])
    question = _COLOUR.pick(rng, split).format(thing)
    return Exchange("colours", question, f"{thing.capitalize()} is {value}.", says(value))


def opposite(rng: Random, split: Split) -> Exchange:
    """What is the opposite of hot?"""
    pair = list(rng.choice(OPPOSITES))
    rng.shuffle(pair)
    question = _OPPOSITE.pick(rng, split).format(pair[0])
    return Exchange("opposites", question, f"The opposite of {pair[0]} is {pair[1]}.", says(pair[1]))


def sound(rng: Random, split: Split) -> Exchange:
    """What sound does a cow make? Which animal says moo?"""
    animal = rng.choice(list(SOUNDS))
    noise = SOUNDS[animal]
    says_noise = f"{_article(animal).capitalize()} says {noise}."
    if rng.random() < 0.3:
        return Exchange("animal sounds", _WHO_SAYS.pick(rng, split).format(noise), says_noise, says(animal))
    question = _repair(_SOUND.pick(rng, split).format(animal))
    return Exchange("animal sounds", question, says_noise, says(noise))
