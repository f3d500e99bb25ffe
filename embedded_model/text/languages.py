"""Which emoji and foreign words does Pebble know? Many of them take several bytes a letter."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, shows
from embedded_model.text.split import Split, Wordings

EMOJI = dict(
    pair.split("=")
    for pair in """pizza=🍕 cat=🐱 dog=🐶 sun=☀️ moon=🌙 star=⭐ heart=❤️ fire=🔥 apple=🍎 banana=🍌 car=🚗 bicycle=🚲 house=🏠
tree=🌳 flower=🌸 rain=🌧️ snow=❄️ fish=🐟 bird=🐦 horse=🐴 cow=🐮 pig=🐷 frog=🐸 lion=🦁 bear=🐻 rabbit=🐰 mouse=🐭 bee=🐝
cake=🎂 coffee=☕ bread=🍞 cheese=🧀 book=📖 music=🎵 guitar=🎸 football=⚽ rocket=🚀 plane=✈️ boat=⛵ train=🚆 clock=⏰
phone=📱 key=🔑 gift=🎁 crown=👑 robot=🤖 ghost=👻 smile=😊 tears=😭 laughter=😂 thumb=👍 rainbow=🌈 strawberry=🍓 carrot=🥕""".split()
)
HELLO = {
    "French": "Bonjour", "German": "Hallo", "Spanish": "Hola", "Italian": "Ciao", "Portuguese": "Olá", "Russian": "Привет",
    "Greek": "Γειά σου", "Japanese": "こんにちは", "Chinese": "你好", "Korean": "안녕하세요", "Arabic": "مرحبا", "Hindi": "नमस्ते",
}  # fmt: skip
THANKS = {
    "French": "Merci", "German": "Danke", "Spanish": "Gracias", "Italian": "Grazie", "Portuguese": "Obrigado", "Russian": "Спасибо",
    "Greek": "Ευχαριστώ", "Japanese": "ありがとう", "Chinese": "谢谢", "Korean": "감사합니다", "Arabic": "شكرا", "Hindi": "धन्यवाद",
}  # fmt: skip

_EMOJI = Wordings(
    train=(
        "Give me an emoji for {}.", "Show me the {} emoji.", "Emoji for {}?", "What is the emoji for {}?", "Send me a {} emoji.",
        "Which emoji means {}?", "Draw {} as an emoji.", "Can you show a {} emoji?", "An emoji of a {}, please.", "{} emoji",
        "Write the emoji for {}.", "What does the {} emoji look like?",
    ),
    held_out=("Please show me an emoji for {}.", "Can you give me the {} emoji?", "I need an emoji for {}."),
)  # fmt: skip
_SAY = Wordings(
    train=(
        "How do you say {word} in {language}?", "Say {word} in {language}.", "What is {word} in {language}?", "{word} in {language}?",
        "Translate {word} into {language}.", "How do I say {word} in {language}?", "Tell me how to say {word} in {language}.",
        "What is the {language} word for {word}?", "Can you say {word} in {language}?", "{language} for {word}?",
        "Translate {word} to {language}.", "What do people say for {word} in {language}?",
    ),
    held_out=("How would you say {word} in {language}?", "Please say {word} in {language}.", "Please translate {word} into {language}."),
)  # fmt: skip


def emoji(rng: Random, split: Split) -> Exchange:
    """Give me an emoji for pizza."""
    thing = rng.choice(list(EMOJI))
    question = _EMOJI.pick(rng, split).format(thing)
    return Exchange("emoji", question, f"Here is {thing}: {EMOJI[thing]}", shows(EMOJI[thing].rstrip("\ufe0f")))


def polite_word(rng: Random, split: Split) -> Exchange:
    """How do you say hello in Japanese?"""
    word, table = rng.choice((("hello", HELLO), ("thank you", THANKS)))
    language = rng.choice(list(table))
    shown = f'"{word}"' if rng.random() < 0.2 else word
    question = _SAY.pick(rng, split).format(word=shown, language=language)
    return Exchange("hello and thank you", question, f"In {language}, {word} is: {table[language]}", shows(table[language]))
