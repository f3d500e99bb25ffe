"""What can Pebble not know? Everything else: it says so, and says what it is."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, says_any
from embedded_model.text.split import Split, Wordings
from embedded_model.text.words import NOUNS, name

ANSWERS = (
    "I do not know that. I am only a small demonstration model.",
    "I cannot know that: I am just a small demonstration model.",
    "That is beyond me. I am only a small demonstration model.",
)
MARKS = ("do not know", "cannot know", "beyond me")
MARKS_FRENCH = ("ne sais pas", "dépasse")

_WORLD = Wordings(
    train=(
        "What is the weather today?", "Will it rain tomorrow?", "What time is it?", "What is the date today?", "What day is it today?",
        "Who is the president of {land}?", "Who won the match yesterday?", "What is in the news?", "What happened today?",
        "How much does a {noun} cost?", "What is the price of gold?", "What is the price of a {noun} in {land}?",
        "How many people live in {land}?", "How high is the highest mountain of {land}?", "Who invented the {noun}?",
        "When was {name} born?", "How old is {name}?", "Where is {name} now?", "Who is {name} {name2}?", "What did {name} do yesterday?",
        "Explain quantum physics.", "What is a black hole?", "How does a {noun} work?", "Explain how a computer works.",
        "Write a program that sorts a list.", "Write some Python code.", "Fix my code.", "What is the meaning of life?",
        "Who will win the election?", "What is the stock price of {name} Motors?", "How do I get to the station?",
        "Where can I buy a {noun}?", "Book me a table for two.", "Order me a {noun}.", "Call {name} for me.", "Send an email to {name}.",
        "What is my phone number?", "What did I do yesterday?", "How old am I?", "When is my birthday?", "What am I thinking?",
        "Which medicine helps against headache?", "Am I ill?", "Is my {noun} broken?", "Can I sue {name}?", "What are the lottery numbers?",
        "Who wrote the book about the {noun}?", "Who sang the song about the {noun}?", "What film should I watch?",
        "Who painted the picture of the {noun}?", "When did the war begin?", "Who was the first king of {land}?",
        "What is the distance to the moon?", "How far is it from {land} to the sea?", "How many stars are there?", "What is the speed of light?",
        "What is the square root of 7?", "Solve this equation.", "Prove the theorem.", "What is the chemical formula of salt?",
        "How do I bake a cake?", "Give me a recipe with {noun}.", "How long must I boil a {noun}?", "What should I eat tonight?",
        "Translate this letter into Latin.", "Read my emails.", "Open the door.", "Play some music.", "Search the internet for {noun}.",
        "What is on television tonight?", "When does the next bus leave?", "When does the shop open?", "Is {name} at home?",
        "Why is the {noun} so expensive?", "Why do people dream?", "Why did {name} leave?", "Which phone is the best?",
        "What will happen next year?", "Tell me the future.", "Who will {name} marry?", "What is the currency of {land}?",
        "Which language do they speak in {land}?", "What is the population of {land}?", "Where is {land}?", "Describe the history of {land}.",
        "What is the biggest {noun} in the world?", "How many {noun}s are in my house?", "What is inside my {noun}?", "Where is my {noun}?",
        "Who stole the {noun}?", "What is {name}'s address?", "What is {name}'s phone number?", "How do I become rich?",
        "Summarize the latest book by {name}.", "Write an essay on politics.", "Which team plays tomorrow?", "How hot is the sun?",
        "How deep is the ocean?", "How fast can a {noun} go?", "How heavy is a {noun}?", "What is the temperature outside?",
        "What year is it?", "who is the mayor of {land}", "weather in {land}?", "Can you drive a car?", "Do you know {name}?",
        "Who discovered {land}?", "What is the best {noun}?", "How do I repair a {noun}?", "Who owns the {noun} factory?",
    ),
    held_out=(
        "What is the weather like in {land}?", "What's the time?", "Who is the king of {land}?", "Who won the race?", "How big is {land}?",
        "How much is a {noun}?", "Where does {name} live?", "When was the {noun} invented?", "Explain how a {noun} works.",
        "Write a program for me.", "What is the stock price today?", "How do I build a {noun}?", "What is the speed of a {noun}?",
        "Which film is the best?", "When does the train leave?", "What is the news from {land}?", "Who wrote that song?",
        "How many {noun}s are there in {land}?", "What did {name} say?", "Who is {name}'s brother?", "Will it snow tomorrow?",
        "What is the history of the {noun}?", "How can I find {name}?", "What is dark matter?", "What is in my pocket?",
    ),
)  # fmt: skip
_LANDS = "France Germany Italy Spain Japan China India Egypt Brazil Canada Russia Norway Greece Peru Kenya Poland".split()
_MADE_UP = Wordings(
    train=("What is the capital of {x}?", "Capital of {x}?", "Tell me the capital of {x}.", "What's the capital of {x}?"),
    held_out=("Which city is the capital of {x}?",),
)  # fmt: skip


def unknown(rng: Random, split: Split) -> Exchange:
    """A question that needs the world, the day, tools or learning; sometimes a land that does not exist."""
    if rng.random() < 0.06:
        question = _MADE_UP.pick(rng, split).format(x=name(rng, split) + rng.choice(("ia", "land", "stan")))
    else:
        question = _WORLD.pick(rng, split).format(
            land=rng.choice(_LANDS), noun=rng.choice(NOUNS), name=name(rng, split), name2=name(rng, split)
        )
    return Exchange("cannot know", question, rng.choice(ANSWERS), says_any(*MARKS))
