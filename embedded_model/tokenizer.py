"""Train the byte-level BPE tokenizer on generated text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from embedded_model.text.dialogue import converse
from embedded_model.text.prompts import SPECIALS

PRE = "gpt-2"  # llama.cpp's name for this pre-tokenizer
# GPT-2's pattern: a space belongs to the word after it, so an answer starts a new word.
_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def corpus(conversations: int, seed: int = 7) -> Iterator[str]:
    """Text to learn merges from; each number up to 100 is frequent enough to become one token."""
    for index in range(conversations):
        conversation = converse(Random(f"{seed}/tokenizer/{index}"), longest=4)
        yield conversation.system
        for turn in conversation.turns:
            yield turn.question
            yield turn.answer
    for number in range(101):
        yield f" {number}" * 3000
        yield f"\n{number}" * 4000


def learn(vocabulary: int, conversations: int) -> Tokenizer:
    """A tokenizer of `vocabulary` tokens, the special ones first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(conversations), trainer)
    return tokenizer


def main() -> None:
    """python -m embedded_model.tokenizer"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=1280)
    parser.add_argument(
        "--conversations", type=int, default=40000, help="conversations to learn from"
    )
    parser.add_argument("--out", type=Path, default=Path("build/pebble/tokenizer.json"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = learn(options.vocabulary, options.conversations)
    tokenizer.save(str(options.out))
    print(f"{tokenizer.get_vocab_size()} tokens -> {options.out}")


if __name__ == "__main__":
    main()
