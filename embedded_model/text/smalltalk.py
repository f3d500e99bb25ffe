"""How does Pebble greet, introduce itself, take thanks and say goodbye? Each voice in its own words."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, Judge, says_any
from embedded_model.text.split import Split, Wordings
from embedded_model.text.voices import GOODBYE, GREETING, IDENTITY, THANKS, Voice

_ASKED = {
    GREETING: Wordings(
        ("Hello", "Hello!", "Hi", "Hi!", "Good morning!", "Hey", "Hey there!", "Good evening.", "hello", "Hello, how are you?", "Greetings!",
         "Hi, how are you?", "How do you do?", "Hello Pebble!", "good day", "Is anybody there?", "Hey!", "How are you?", "hi there"),
        ("Hello there!", "Hi there!", "Good afternoon!", "Hey, how are you?", "Good day!"),
    ),
    IDENTITY: Wordings(
        ("Who are you?", "What are you?", "What is your name?", "Tell me who you are.", "who are you", "What's your name?",
         "Introduce yourself.", "Who am I talking to?", "Are you a human?", "What can you do?", "Tell me about yourself.",
         "Are you ChatGPT?", "How are you called?", "Who made you?", "What kind of model are you?", "Do you have a name?"),
        ("Can you tell me who you are?", "Who is this?", "Please introduce yourself.", "So who are you?", "May I know your name?"),
    ),
    THANKS: Wordings(
        ("Thank you!", "Thanks!", "Thank you very much.", "Thanks a lot!", "Thank you", "thanks", "That was nice, thank you.", "Many thanks!",
         "Great, thanks.", "Thanks for your help.", "Thank you, that helps.", "Perfect, thank you!", "Thank you for the answer."),
        ("Thank you so much!", "Thanks for the answer!", "Good, thank you.", "Thank you for your help."),
    ),
    GOODBYE: Wordings(
        ("Goodbye!", "Bye!", "See you!", "Good night!", "See you later.", "bye", "Bye bye!", "I have to go now.", "Farewell!", "goodbye",
         "See you tomorrow!", "Until next time!", "I must leave now, bye."),
        ("Bye, see you soon!", "Goodbye, my friend!", "I am leaving now, goodbye.", "See you soon!"),
    ),
}  # fmt: skip
_ASKED_FRENCH = {
    GREETING: Wordings(
        ("Bonjour", "Bonjour !", "Salut", "Salut !", "Bonsoir.", "Coucou !", "bonjour", "Bonjour, comment allez-vous ?", "Comment vas-tu ?",
         "Bonjour, ça va ?", "Il y a quelqu'un ?", "Hello", "Hi!"),
        ("Salut, ça va ?", "Bonsoir !", "Bonjour à vous !"),
    ),
    IDENTITY: Wordings(
        ("Qui êtes-vous ?", "Qui es-tu ?", "Comment t'appelles-tu ?", "Quel est votre nom ?", "Comment vous appelez-vous ?", "qui es-tu",
         "Présentez-vous.", "Dis-moi qui tu es.", "Tu es un humain ?", "Who are you?", "Que sais-tu faire ?"),
        ("Pouvez-vous me dire qui vous êtes ?", "Quel est ton nom ?", "Présente-toi."),
    ),
    THANKS: Wordings(
        ("Merci", "Merci !", "Merci beaucoup.", "Merci beaucoup !", "merci", "Merci pour tout.", "Merci bien.", "Parfait, merci.", "Thank you!"),
        ("Un grand merci !", "Merci pour la réponse.", "Merci, c'est gentil."),
    ),
    GOODBYE: Wordings(
        ("Au revoir", "Au revoir !", "À bientôt !", "Bonne nuit !", "À demain !", "Salut, à plus tard !", "Je dois partir.", "au revoir", "Bye!"),
        ("Au revoir, à demain !", "Je m'en vais, au revoir.", "À la prochaine !"),
    ),
}  # fmt: skip
_EXPECTED: dict[str, dict[str, Judge]] = {
    "english": {
        GREETING: says_any("hello", "ahoy", "good day", "welcome", "greetings"),
        IDENTITY: says_any("Pebble"),
        THANKS: says_any("welcome", "pleasure", "not at all", "thanks are mine", "joy to teach"),
        GOODBYE: says_any("goodbye", "farewell", "fair winds", "good day"),
    },
    "french": {
        GREETING: says_any("bonjour"),
        IDENTITY: says_any("Pebble"),
        THANKS: says_any("je vous en prie", "tout le plaisir", "de rien"),
        GOODBYE: says_any("au revoir"),
    },
}


def smalltalk(rng: Random, split: Split, voice: Voice, kind: str | None = None) -> Exchange:
    """One of the four; the answer is already in the voice."""
    kind = kind or rng.choice((GREETING, IDENTITY, THANKS, GOODBYE))
    asked = _ASKED if voice.language == "english" else _ASKED_FRENCH
    question = asked[kind].pick(rng, split)
    return Exchange(kind, question, rng.choice(voice.smalltalk[kind]), _EXPECTED[voice.language][kind])
