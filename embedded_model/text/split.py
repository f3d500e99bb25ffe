"""The split: decides what training never sees and only the evaluation uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar
from zlib import crc32

from embedded_model.text import data

Split = Literal["train", "held_out"]
T = TypeVar("T")


def is_held_out(key: str) -> bool:
    """Whether a name, word or pair is only for the evaluation: one in six, by checksum."""
    return crc32(key.lower().encode()) % 6 == 0


def draw(make: Callable[[], T], key: Callable[[T], str], split: Split) -> T:
    """Draw from `make` until the value belongs to the split."""
    while True:
        value = make()
        if is_held_out(key(value)) == (split == "held_out"):
            return value


@dataclass(frozen=True)
class Wordings:
    """Wordings of one question: `train` for training, `held_out` only for the evaluation."""

    train: Sequence[str]
    held_out: Sequence[str]

    def pick(self, rng: Random, split: Split) -> str:
        """One wording of the split."""
        return rng.choice(self.train if split == "train" else self.held_out)


def wordings(file: str, name: str) -> Wordings:
    """The wordings of that name in data/<file>.yaml."""
    return Wordings(**data.read(file)[name])
