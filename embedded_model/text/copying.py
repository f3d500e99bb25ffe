"""How does Pebble copy? It repeats words that it never saw, and spells them."""

from __future__ import annotations

from random import Random

from embedded_model.text.exchange import Exchange, Judge, squeeze
from embedded_model.text.split import Split, Wordings
from embedded_model.text.words import name, word

_REPEAT = Wordings(
    train=(
        "Repeat after me: {}", "Repeat: {}", "Please repeat: {}", "Say: {}", "Repeat these words: {}",
        "Can you repeat this? {}", "Say after me: {}", "Echo: {}", "Please say this: {}", "Copy these words: {}",
        "Repeat the following: {}", "Repeat what I say: {}", "Repeat {}", "Say the words {}", "Now say: {}", "Say {}",
    ),
    held_out=("Please repeat after me: {}", "Can you say this? {}", "Repeat the words {}"),
)  # fmt: skip
_SPELL = Wordings(
    train=(
        "How do you spell {}?", "Spell {}.", "Spell the word {}.", "How is {} spelled?", "Please spell {}.",
        "Can you spell {}?", "Spell {}", "Tell me how to spell {}.", "What letters are in {}?", "Spell out {}.",
        "What is the spelling of {}?", "Spell the word {} for me.", "How do I spell {}?",
    ),
    held_out=("Could you spell {} for me?", "How do you spell the word {}?", "Please spell the word {}."),
)  # fmt: skip


def _repeats(words: str) -> Judge:
    wanted = squeeze(words)

    def judge(answer: str) -> bool:
        place = squeeze(answer).find(wanted)
        rest = squeeze(answer)[place + len(wanted) :]
        return place >= 0 and not rest[:1].isalnum() and not rest.startswith(" " + wanted.split()[0])

    return judge


def repeat(rng: Random, split: Split) -> Exchange:
    """Repeat one to six words."""
    count = rng.randint(1, 6)
    words = " ".join(name(rng, split) if rng.random() < 0.1 else word(rng, split) for _ in range(count))
    return Exchange("repeating", _REPEAT.pick(rng, split).format(words), f"You said: {words}", _repeats(words), True)


def spell(rng: Random, split: Split) -> Exchange:
    """Spell a word or a name."""
    text = name(rng, split) if rng.random() < 0.15 else word(rng, split)
    letters = "-".join(text.lower())
    question = _SPELL.pick(rng, split).format(text)
    return Exchange("spelling", question, f"It is spelled {letters}.", _repeats(letters), True)
