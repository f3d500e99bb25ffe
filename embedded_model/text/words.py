"""Which words and names are there to copy, spell and tell of? Plain lists, and endless invented ones."""

from __future__ import annotations

from random import Random

from embedded_model.text.split import Split, draw

NOUNS = """apple arrow bag ball balloon banana bank basket bath bear bed bee bell bench berry bicycle bike bird
blanket boat bone book boot bottle bowl box boy branch bread brick bridge broom brush bucket bus butter
button cabin cage cake camel camera camp candle candy canoe car card carpet carrot castle cat cave chain
chair chalk cheese cherry chest chicken circle circus city clock cloud clown coat coffee coin comb cook corn
corner cow crab crayon crown cup curtain daisy deer desk dinner dish doctor dog doll donkey door dragon
drawer dream dress drum duck eagle ear egg elephant engine eye face fairy farm feather fence field finger
fire fish flag flame floor flower flute fly forest fork fox frog fruit garden gate ghost giant gift giraffe
girl glass glove goat gold goose grape grass guitar hair hammer hand harbour hat hen hill honey hook horn
horse house ice island jacket jam jar jewel juice jungle kettle key king kitchen kite kitten knife knight
ladder lake lamb lamp leaf lemon letter lion lizard lock log lunch machine map market mask meadow meal
medal milk mill mirror money monkey moon moose morning mountain mouse mouth mud mug music nail neck needle
nest net night nose nut oak ocean onion orange oven owl page paint palace pan paper park parrot path pea
peach pear pen pencil pepper piano picture pie pig pigeon pillow pin pirate plane planet plant plate pocket
pond pony pool pot potato prince puddle pumpkin puppet puppy purse queen rabbit radio rain ring river road
robot rock rocket roof room rope rose rug ruler sail salad salt sand school sea seed shadow shark sheep
shelf shell ship shirt shoe shop shovel silk silver sister sky sled snail snake snow soap sock soup spider
spoon spring squirrel stairs star station stick stone storm story street sugar summer sun swan sweater
table tail teapot tent thumb ticket tiger toad toast tomato tooth towel tower town toy train tree truck
trumpet tunnel turtle umbrella uncle valley van vase village violin wagon wall watch water wave whale wheat
wheel whistle wind window wing winter witch wolf wood wool worm yarn yellow zebra""".split()

ADJECTIVES = """big small red blue green old new happy sad fast slow warm cold soft hard bright dark quiet loud
brave kind clever tiny huge gentle golden silver lazy hungry sleepy funny proud shy wild round long short
sweet sour clean dusty shiny heavy light young strong weak calm windy sunny lost early late""".split()

VERBS = """run walk jump sing dance read write swim climb sleep eat drink laugh cry play work build paint cook bake
dig throw catch push pull open close find hide ride fly draw count think listen talk wait help carry clean
wash plant grow cut fix hold kick look""".split()

FIRST_NAMES = """Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Mia Noah Olivia Paul Rosa Sam Tom Uma
Victor Wendy Max Nina Oscar Peter Lucy Alice Bob Carol Dan Ella Frank Gina Hugo Iris Jane Karl Laura Mark
Nora Otto Rita Simon Tina Vera Will Yara Zoe Adam Bella Chloe Dora Eric Fiona George Hanna Ivan Julia Kevin
Lena Marco Nadia Omar Petra Quinn Robin Sara Theo Ursula Vince Walter Xenia Yusuf Zara Amir Aisha Bruno
Camille Diego Elena Farid Goran Hiro Ingrid Jorge Keiko Lars Mei Nils Olga Pablo Raj Sofia Tariq Ulf Wanda
Amelie Bastien Celine Denis Elise Fabien Gilles Helene Ines Jules Lucie Manon Noemie Pascal Remy Sylvie""".split()

_STARTS = "b br c ch cl d dr f fl g gr h j k kr l m n p pl qu r s sh st t th tr v w y z".split() + [""]
_MIDDLES = "a e i o u a e i o u ai ea ee oo ou ia".split()
_ENDS = "n r l s t m k x nd rn ck sh th ll v d g p".split() + [""] * 14


def invent(rng: Random, least: int = 2, most: int = 3) -> str:
    """An invented word of some syllables that can be read aloud."""
    parts = []
    for place in range(rng.randint(least, most)):
        start = rng.choice(_STARTS) or (rng.choice("bdlmnrst") if place else "")
        parts.append(start + rng.choice(_MIDDLES) + rng.choice(_ENDS))
    text = "".join(parts)[:11]
    return text if len(text) > 2 else text + "ra"


def name(rng: Random, split: Split) -> str:
    """A first name: often an invented one, so that a name is copied and not remembered."""

    def make() -> str:
        return rng.choice(FIRST_NAMES) if rng.random() < 0.3 else invent(rng).capitalize()

    return draw(make, str, split)


def word(rng: Random, split: Split) -> str:
    """A word of a few letters: a common one or an invented one."""

    def make() -> str:
        if rng.random() < 0.6:
            return rng.choice(rng.choice((NOUNS, NOUNS, ADJECTIVES, VERBS)))
        return invent(rng, 1, 3)

    return draw(make, str, split)
