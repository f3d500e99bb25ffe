"""Find the tokens of a vocabulary that a grammar allows next."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .grammar_matcher import Kin, Matcher, Position

Ids = NDArray[np.int64]
TRIED_FOR_A_STEP = 8
"""Tokens that are looked at in the time of a step of the matcher."""


class TokenIndex:
    """The tokens of a vocabulary, sorted, with how many bytes each shares with the one before.

    Looking through them in this order reads common beginnings once.
    """

    def __init__(self, pieces: Sequence[bytes], ends: Iterable[int]) -> None:
        """`ends` are the tokens that end an answer."""
        self.pieces = pieces
        self.ends = frozenset(ends)
        readable = (token for token, piece in enumerate(pieces) if piece and token not in self.ends)
        self._ids = sorted(readable, key=pieces.__getitem__)
        self._sorted = [pieces[token] for token in self._ids]
        self.longest = max(map(len, self._sorted), default=0)
        self._shared = [0, *map(_common, self._sorted, self._sorted[1:]), 0]

    def allowed(self, matcher: Matcher) -> Ids:
        """The ids of all tokens with which the answer may go on. Raises TooExpensive."""
        pieces, shared, ids, step = self._sorted, self._shared, self._ids, matcher.step
        path: list[Position] = [matcher.position]
        found: list[int] = []
        at, count, tried = 0, len(pieces), 0
        while at < count:
            tried += 1
            start = shared[at]
            del path[start + 1 :]
            position = path[-1]
            for byte in pieces[at][start:]:
                try:
                    following = position.next[byte]
                except KeyError:
                    following = step(position, byte)
                if following is None:
                    break
                path.append(following)
                position = following
            else:
                found.append(ids[at])
                at += 1
                continue
            matched = len(path) - 1
            at += 1
            while shared[at] > matched:
                at += 1
        matcher.spend(tried // TRIED_FOR_A_STEP)
        if matcher.position.complete:
            found.extend(self.ends)
        return np.array(sorted(found), np.int64)


class GrammarState:
    """What a grammar allows next in one answer."""

    KEPT = 16
    """Positions whose allowed tokens are remembered."""

    def __init__(self, matcher: Matcher, index: TokenIndex) -> None:
        self._matcher = matcher
        self._index = index
        self._kept: OrderedDict[Kin, Ids] = OrderedDict()

    def allows(self, token: int) -> bool:
        if token in self._index.ends:
            return self._matcher.position.complete
        return self._matcher.allows(self._index.pieces[token])

    def accept(self, token: int) -> None:
        if token not in self._index.ends:
            self._matcher.accept(self._index.pieces[token])

    def allowed(self, likeliest: Iterable[int], needed: int | None) -> Ids:
        """The allowed tokens: of `likeliest`, if `needed` of these are allowed, or of all."""
        kind = self._matcher.kind(self._index.longest)
        if kind not in self._kept:
            if needed is not None:
                found = [token for token in likeliest if self.allows(token)]
                if len(found) >= needed:
                    return np.array(sorted(found), np.int64)
            self._kept[kind] = self._index.allowed(self._matcher)
            if len(self._kept) > self.KEPT:
                self._kept.popitem(last=False)
        return self._kept[kind]


def _common(one: bytes, other: bytes) -> int:
    """With how many equal bytes both begin."""
    if other.startswith(one):
        return len(one)
    return next(at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])
