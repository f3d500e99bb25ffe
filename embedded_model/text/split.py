"""What is held out? The one place that decides which names, words, pairs and wordings training never sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar
from zlib import crc32

Split = Literal["train", "held_out"]
T = TypeVar("T")


def is_held_out(key: str) -> bool:
    """Whether a name, word or number pair belongs to the evaluation: one in six does, by its checksum."""
    return crc32(key.lower().encode()) % 6 == 0


def draw(make: Callable[[], T], key: Callable[[T], str], split: Split) -> T:
    """Draw from `make` until the value belongs to the split."""
    while True:
        value = make()
        if is_held_out(key(value)) == (split == "held_out"):
            return value


@dataclass(frozen=True)
class Wordings:
    """The ways to ask one thing: `train` is asked in training, `held_out` only in the evaluation."""

    train: Sequence[str]
    held_out: Sequence[str]

    def pick(self, rng: Random, split: Split) -> str:
        """One wording of the split."""
        return rng.choice(self.train if split == "train" else self.held_out)
