"""The parts of a grammar, and the limits that each of them is held to.

GBNF texts and JSON schemas are read into these parts; `grammar_program` compiles them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from worker.binding import BadRequest

MAX_NESTING = 100
"""Levels of parentheses, repetitions of repetitions, or JSON schemas inside each other."""
MAX_DEPTH = 4 * MAX_NESTING
"""Parts inside each other: a level of parentheses is up to four of them."""
MAX_REPETITIONS = 100_000
"""Of one part, if their number is bounded. They cost nothing until a text has them."""
MAX_EMPTY_REPETITIONS = 100
"""Of a part that can be empty: their number is not seen in the text, so all are tried."""
MAX_STATES = 30_000
"""Characters, references, alternatives and repetitions of one grammar. More of them would keep
the garbage collector, which stops all threads, busy for a noticeable time."""
LAST_CHARACTER = 0x10FFFF
SURROGATES = 0xD800, 0xDFFF

Range = tuple[int, int]
"""The first and the last of consecutive code points."""


class GrammarError(BadRequest):
    """The grammar or schema cannot be read, or is over a limit; the message names it."""


class _Part:
    depth: int

    def _nest(self, parts: Iterable["Part"]) -> None:
        self.depth = 1 + max((part.depth for part in parts), default=0)
        if self.depth > MAX_DEPTH:
            raise too_deep()


@dataclass(eq=False)
class Characters(_Part):
    """One character of `ranges`, which are sorted and apart from each other."""

    ranges: tuple[Range, ...]
    depth: int = 1


@dataclass(eq=False)
class Words(_Part):
    """One of some texts, compiled as a trie: what they begin with in common is read once."""

    texts: Sequence[str]
    depth: int = 1


@dataclass(eq=False)
class Reference(_Part):
    """What the rule `name` describes."""

    name: str
    depth: int = 1


@dataclass(eq=False)
class Chain(_Part):
    """All of the parts, one after the other."""

    parts: Sequence["Part"]

    def __post_init__(self) -> None:
        self._nest(self.parts)


@dataclass(eq=False)
class Choice(_Part):
    """One of the parts."""

    parts: Sequence["Part"]

    def __post_init__(self) -> None:
        self._nest(self.parts)


@dataclass(eq=False)
class Repetition(_Part):
    """`part`, from `least` to `most` times; None is without end."""

    part: "Part"
    least: int
    most: int | None

    def __post_init__(self) -> None:
        self._nest([self.part])
        for count in (self.least, self.most or 0):
            if count > MAX_REPETITIONS:
                raise GrammarError(
                    f"a part of a grammar may be repeated {MAX_REPETITIONS:,} times, not {count:,}"
                )
        if self.most is not None and self.most < self.least:
            raise GrammarError(f"a repetition from {self.least} to {self.most} times is none")


Part = Characters | Words | Reference | Chain | Choice | Repetition
Rules = dict[str, Part]
"""The rules by their names. A text must match `root`."""


def too_deep() -> GrammarError:
    return GrammarError(f"a grammar may be nested {MAX_NESTING} deep, not deeper")


def too_large() -> GrammarError:
    return GrammarError(
        f"a grammar may have {MAX_STATES:,} elements (characters, references, alternatives and "
        "repetitions), and this one has more"
    )


def chain(parts: Sequence[Part]) -> Part:
    return parts[0] if len(parts) == 1 else Chain(parts)


def choice(parts: Sequence[Part]) -> Part:
    return parts[0] if len(parts) == 1 else Choice(parts)


def optional(part: Part) -> Part:
    return Repetition(part, 0, 1)


def text(word: str) -> Part:
    return Words([word])


def characters(ranges: Iterable[Range], *, inverse: bool = False) -> Characters:
    """Those of `ranges`, in whatever order they are and overlap, or all others.

    NUL and surrogates are never among the others: no text has them.
    """
    if inverse:
        ranges = [(0, 0), SURROGATES, *ranges]
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if high < low:
            continue
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    if not inverse:
        return Characters(tuple(merged))
    borders = [*merged, (LAST_CHARACTER + 1, LAST_CHARACTER + 1)]
    gaps = [(a[1] + 1, b[0] - 1) for a, b in pairwise(borders)]
    return characters(gap for gap in gaps if gap[0] <= gap[1])
