"""How is one batch computed, and what comes of it?"""

import time
from dataclasses import dataclass
from typing import Self

from worker.binding import BindingError

from .batch import Runs, Singles
from .kv_memory import Residence
from .model import LlamaModel
from .native import ABORTED
from .prefix_cache import Cells
from .sampler import Row, logprobs
from .sequence import Sequence


@dataclass(slots=True)
class Counters:
    """Since the model was loaded."""

    steps: int = 0
    """Calls of `llama_decode`."""
    decoding_ns: int = 0
    """Wall time inside `llama_decode`."""
    computed: int = 0
    """Tokens that were computed, prompts and answers."""
    reused: int = 0
    """Prompt tokens that were not."""
    aborted: int = 0
    """Steps cut short by a cancel."""


@dataclass(frozen=True, slots=True)
class Part:
    """The next `count` tokens of a prompt, and behind how many of them the logits are wanted."""

    sequence: Sequence
    cells: Cells
    count: int
    wanted: int

    @classmethod
    def of(cls, sequence: Sequence, count: int, rows: int) -> Self:
        """At most `count` tokens, fewer if they want more than `rows` logits to be replayed."""
        assert sequence.cells
        cells = sequence.cells
        reached = cells.computed + count
        if sequence.sampler.plain:
            return cls(sequence, cells, count, int(reached == len(sequence.tokens)))
        wanted = max(0, min(count, reached - sequence.first + 1))
        part = cls(sequence, cells, count, wanted)
        if part.replayed > rows:
            return cls(sequence, cells, count - (wanted - rows), rows)
        return part

    @property
    def replayed(self) -> int:
        reached = self.cells.computed + self.count
        return self.wanted - (reached == len(self.sequence.tokens) and self.wanted > 0)


class Computing:
    def __init__(self, model: LlamaModel, residence: Residence) -> None:
        self._model = model
        self._residence = residence
        self._singles = Singles(model.settings.parallel, model.vocabulary.size)
        self._runs = Runs(model.settings.rows, model.vocabulary.size)
        self._ends = model.vocabulary.ends
        self.size = self._runs.size
        """Tokens that one batch of prompts may have."""
        self.counters = Counters()

    def decode(self, sequences: list[Sequence]) -> bool:
        """Compute the last token of each and choose the next one; False if it was cut short.

        Then, as in `prefill`, what a sequence misses may have grown. Raises
        BindingError when llama.cpp cannot; the sequences are as before.
        """
        cells = [sequence.cells for sequence in sequences if sequence.cells]
        self._singles.fill([s.tokens[-1] for s in sequences], [c.id for c in cells])
        if code := self._compute(self._singles):
            self._recover(sequences, code)
            return False
        for each in cells:
            each.computed += 1
        self._sample(sequences)
        return True

    def prefill(self, parts: list[Part]) -> None:
        """Compute `parts`, and choose a token behind each prompt that is complete."""
        rows = self._runs
        rows.clear()
        for part in parts:
            start = part.cells.computed
            tokens = part.sequence.tokens[start : start + part.count]
            rows.add(tokens, start, part.cells.id, part.wanted)
        if code := self._compute(rows):
            self._recover([part.sequence for part in parts], code)
            return
        for part in parts:
            part.cells.computed += part.count
        self._sample_parts(parts)

    def _compute(self, rows: Singles | Runs) -> int:
        counters = self.counters
        before = time.perf_counter_ns()
        code = rows.decode(self._model.context)
        counters.decoding_ns += time.perf_counter_ns() - before
        counters.steps += 1
        if not code:
            counters.computed += rows.count
        return code

    def _recover(self, sequences: list[Sequence], code: int) -> None:
        """Part of the batch may be in memory: go on from there, and keep one token to compute."""
        for sequence in sequences:
            assert sequence.cells
            cells = sequence.cells
            reached = self._residence.count(cells.id)
            cells.computed = min(reached, len(sequence.tokens) - 1, _keepable(sequence, cells))
            if not self._residence.cut(cells.id, cells.computed):
                self._residence.clear(cells.id)
                cells.computed = 0
        if code != ABORTED:
            raise BindingError(f"llama.cpp cannot compute this: llama_decode returned {code}")
        self.counters.aborted += 1

    def _sample(self, sequences: list[Sequence]) -> None:
        """Every sequence has one row."""
        logits = self._singles.logits(self._model.context, len(sequences))
        ends = self._ends
        quick = [sequence.quick for sequence in sequences]
        largest = logits.argmax(axis=1).tolist() if True in quick else quick
        for place, sequence in enumerate(sequences):
            token = largest[place]
            if not quick[place] or token in sequence.forbidden:
                self._choose(sequence, logits[place])
            else:
                sequence.take(token, ends)

    def _sample_parts(self, parts: list[Part]) -> None:
        count = sum(part.wanted for part in parts)
        if not count:
            return
        logits = iter(self._runs.logits(self._model.context, count))
        for part in parts:
            tokens, reached = part.sequence.tokens, part.cells.computed
            for place in range(reached - part.wanted + 1, reached + 1):
                row = next(logits)
                if place < len(tokens):
                    part.sequence.sampler.replay(row, tokens[place])
                else:
                    self._choose(part.sequence, row)

    def _choose(self, sequence: Sequence, row: Row) -> None:
        if sequence.given:
            sequence.sampler.replay(row, sequence.given[0])
            return sequence.take_given()
        token = sequence.sampler.choose(row)
        if sequence.logprobs and token is not None and token not in self._ends:
            sequence.request.usage.logprobs.append(logprobs(row, token, sequence.logprobs))
        sequence.take(token, self._ends)


def _keepable(sequence: Sequence, cells: Cells) -> int:
    """What was computed without its row being read must be computed again."""
    if sequence.sampler.plain:
        return len(sequence.tokens)
    return max(cells.computed, sequence.first - 1)
