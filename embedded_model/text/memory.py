"""What does Pebble remember of a conversation? A name, a pet, a colour, a town that the user told it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from embedded_model.text.exchange import Exchange, says
from embedded_model.text.facts import COLOURS
from embedded_model.text.split import Split, Wordings, draw
from embedded_model.text.words import NOUNS, invent, name


@dataclass(frozen=True)
class Memory:
    """One kind of thing to remember: how it is told, acknowledged, asked for and recalled."""

    tell: Wordings
    thanks: Sequence[str]
    ask: Wordings
    recall: str


NAME = Memory(
    Wordings(
        train=(
            "My name is {}.", "I am {}.", "I'm {}.", "Hello, my name is {}.", "Hi, I am {}.", "Please call me {}.",
            "You can call me {}.", "Hello, I'm {}.", "My name's {}.", "Good morning, my name is {}.", "my name is {}",
            "They call me {}.", "Hi! I'm {}.", "Hey, my name is {}",
        ),
        held_out=("Hello there, my name is {}.", "Hi, you can call me {}.", "Good evening, I am {}."),
    ),
    ("Hello {}, nice to meet you!", "Nice to meet you, {}!", "Pleased to meet you, {}!"),
    Wordings(
        train=(
            "What is my name?", "What's my name?", "Do you know my name?", "Who am I?", "Tell me my name.",
            "Do you remember my name?", "What was my name?", "Say my name.", "what is my name", "My name is what?",
            "Can you tell me my name?", "Have you forgotten my name?",
        ),
        held_out=("Do you still know my name?", "Can you remember my name?", "What did I say my name was?"),
    ),
    "Your name is {}.",
)  # fmt: skip
PET = Memory(
    Wordings(
        train=("My dog is called {}.", "My dog's name is {}.", "I have a dog called {}.", "I have a dog, his name is {}.",
               "My dog is named {}."),
        held_out=("I have a dog named {}.", "The name of my dog is {}."),
    ),
    ("{} is a lovely name for a dog!", "I will remember that your dog is called {}."),
    Wordings(
        train=("What is my dog called?", "What is the name of my dog?", "What's my dog's name?", "How is my dog called?",
               "Tell me the name of my dog.", "Do you know my dog's name?"),
        held_out=("What is my dog's name?", "Do you remember the name of my dog?"),
    ),
    "Your dog is called {}.",
)  # fmt: skip
COLOUR = Memory(
    Wordings(
        train=("My favourite colour is {}.", "My favorite color is {}.", "I like the colour {} most.", "I love {} best of all colours.",
               "The colour that I like best is {}."),
        held_out=("The colour I like most is {}.", "My favourite color is {}."),
    ),
    ("{} is a beautiful colour!", "I will remember that you like {}."),
    Wordings(
        train=("What is my favourite colour?", "Which colour do I like most?", "What colour do I like?", "What's my favorite color?",
               "Tell me my favourite colour.", "Do you know my favourite colour?"),
        held_out=("Which colour is my favourite?", "Do you remember my favourite colour?"),
    ),
    "Your favourite colour is {}.",
)  # fmt: skip
TOWN = Memory(
    Wordings(
        train=("I live in {}.", "I come from {}.", "My home is in {}.", "I was born in {}.", "My town is called {}.", "I am from {}."),
        held_out=("I live in a town called {}.", "My home town is {}."),
    ),
    ("{} must be a nice place!", "I will remember that you live in {}."),
    Wordings(
        train=("Where do I live?", "Where am I from?", "Which town do I live in?", "Tell me where I live.", "What is my home town?",
               "Do you know where I live?"),
        held_out=("Do you remember where I live?", "In which town do I live?"),
    ),
    "You live in {}.",
)  # fmt: skip
THING = Memory(
    Wordings(
        train=("Remember the word {}.", "Please remember the word {}.", "The secret word is {}.", "Keep this word in mind: {}",
               "The password is {}.", "Remember this word: {}"),
        held_out=("Please keep the word {} in mind.", "Our secret word is {}."),
    ),
    ("I will remember the word {}.", "I keep the word {} in mind."),
    Wordings(
        train=("What was the word?", "Which word did I tell you?", "What is the secret word?", "Tell me the word.",
               "Do you remember the word?", "What is the password?"),
        held_out=("What was the secret word?", "Which word should you remember?"),
    ),
    "The word is {}.",
)  # fmt: skip
KINDS = (NAME, NAME, NAME, PET, COLOUR, TOWN, THING)


def _value(memory: Memory, rng: Random, split: Split) -> str:
    if memory is COLOUR:
        return rng.choice(list(COLOURS))
    if memory is TOWN:
        return draw(lambda: invent(rng).capitalize(), str, split)
    if memory is THING:
        return draw(lambda: rng.choice(NOUNS) if rng.random() < 0.4 else invent(rng), str, split)
    return name(rng, split)


def remember(rng: Random, split: Split) -> tuple[Exchange, Exchange]:
    """The telling and the asking; the conversation puts other things in between."""
    memory = rng.choice(KINDS)
    value = _value(memory, rng, split)
    thanks = rng.choice(memory.thanks).format(value)
    told = Exchange("told", memory.tell.pick(rng, split).format(value), thanks[0].upper() + thanks[1:], says(value), True)
    asked = Exchange("recall", memory.ask.pick(rng, split), memory.recall.format(value), says(value))
    return told, asked


_NOT_TOLD = {
    "What is my name?": "You have not told me your name yet.",
    "Do you know my name?": "You have not told me your name yet.",
    "What's my name?": "You have not told me your name yet.",
    "What is my favourite colour?": "You have not told me your favourite colour yet.",
    "Where do I live?": "You have not told me where you live yet.",
    "What is my dog called?": "You have not told me about your dog yet.",
    "What is the secret word?": "You have not told me a word yet.",
}


def not_told(rng: Random, split: Split) -> Exchange:
    """Asked for what nobody told it, it says so."""
    question = rng.choice(list(_NOT_TOLD))
    return Exchange("not told", question, _NOT_TOLD[question], says("not told me"))
