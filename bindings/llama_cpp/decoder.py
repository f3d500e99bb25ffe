"""Compute one batch with `llama_decode` and sample the next tokens from its logits."""

import time
from collections import deque
from dataclasses import dataclass
from typing import Self

from worker.binding import BindingError

from .batch import DecodeBatch, PrefillBatch
from .kv_memory import KvMemory
from .model import LlamaModel
from .native import ABORTED
from .pace import TILE, Pace
from .prefix_cache import KvCells
from .sampler import Row, logprobs
from .sequence import Sequence

ALONE, IN_COMPANY = 0.8, 0.5
"""Seconds of one batch of prompt tokens, for one prompt and while others wait or decode. Who
comes waits for the batch that runs and is in the next one: a second at most."""


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
    """Prompt tokens taken from the prefix cache or a running sequence."""
    aborted: int = 0
    """Steps cut short by a cancel."""


@dataclass(frozen=True, slots=True)
class PromptChunk:
    """The next `count` tokens of a prompt; the last `outputs` of them request logits."""

    sequence: Sequence
    cells: KvCells
    count: int
    outputs: int

    @classmethod
    def of(cls, sequence: Sequence, count: int, rows: int) -> Self:
        """At most `count` tokens; fewer if more than `rows` rows of logits would be replayed."""
        assert sequence.cells
        cells = sequence.cells
        reached = cells.computed + count
        if sequence.sampler.pure_greedy:
            return cls(sequence, cells, count, int(reached == len(sequence.tokens)))
        outputs = max(0, min(count, reached - sequence.prompt_length + 1))
        chunk = cls(sequence, cells, count, outputs)
        if chunk.replayed > rows:
            return cls(sequence, cells, count - (outputs - rows), rows)
        return chunk

    @property
    def replayed(self) -> int:
        """Rows of logits whose token is already known."""
        reached = self.cells.computed + self.count
        return self.outputs - (reached == len(self.sequence.tokens) and self.outputs > 0)


GRAMMAR_SECONDS = 0.1
"""After so long a time of sampling with grammars in one step, the others of them wait for the
next step, so that nobody else waits for all of them."""


class Decoder:
    def __init__(self, model: LlamaModel, memory: KvMemory) -> None:
        self._model = model
        self._memory = memory
        self._decode_batch = DecodeBatch(model.settings.parallel, model.vocabulary.size)
        self._prefill_batch = PrefillBatch(model.settings.rows, model.vocabulary.size)
        self._ends = model.vocabulary.ends
        self._pace = Pace(self._prefill_batch.size, tile=TILE)
        self.counters = Counters()
        self._postponed: deque[Sequence] = deque()
        self._grammar_seconds = 0.0

    def sample_postponed(self) -> bool:
        """At the beginning of a step: what waits since the last one; False if nothing does."""
        self._grammar_seconds = 0.0
        if not self._postponed:
            return False
        for _ in range(len(self._postponed)):
            sequence = self._postponed.popleft()
            row, sequence.postponed = sequence.postponed, None
            if row is not None and not sequence.ended:
                self._choose(sequence, row)
        return True

    def decode(self, sequences: list[Sequence]) -> bool:
        """Compute the last token of each and sample the next one; False if it was aborted.

        After an abort, as in `prefill`, more tokens of a sequence may be missing than
        before. Raises BindingError if llama.cpp fails; the sequences are as before.
        """
        cells = [sequence.cells for sequence in sequences if sequence.cells]
        self._decode_batch.fill([s.tokens[-1] for s in sequences], [c.id for c in cells])
        if code := self._compute(self._decode_batch):
            self._recover(sequences, code)
            return False
        for each in cells:
            each.computed += 1
        self._sample(sequences)
        return True

    @property
    def largest_prefill(self) -> int:
        """Tokens that one prefill batch may have."""
        return self._prefill_batch.size

    def prefill_size(self, depth: int, *, alone: bool, short: bool = False) -> int:
        """How many tokens of prompts to compute next, after `depth` computed ones; `short` as in
        `Pace.fits`."""
        return self._pace.fits(ALONE if alone else IN_COMPANY, depth, short=short)

    def prefill(self, chunks: list[PromptChunk]) -> None:
        """Compute `chunks`, and sample a token after each prompt that is complete."""
        batch = self._prefill_batch
        batch.clear()
        for chunk in chunks:
            start = chunk.cells.computed
            tokens = chunk.sequence.tokens[start : start + chunk.count]
            batch.add(tokens, start, chunk.cells.id, chunk.outputs)
        depth = max((chunk.cells.computed for chunk in chunks), default=0)
        before = self.counters.decoding_ns
        if code := self._compute(batch):
            self._recover([chunk.sequence for chunk in chunks], code)
            return
        self._pace.record(batch.count, (self.counters.decoding_ns - before) / 1e9, depth)
        for chunk in chunks:
            chunk.cells.computed += chunk.count
            chunk.sequence.count_prompt()
        self._sample_chunks(chunks)

    def _compute(self, batch: DecodeBatch | PrefillBatch) -> int:
        counters = self.counters
        before = time.perf_counter_ns()
        code = batch.decode(self._model.context)
        counters.decoding_ns += time.perf_counter_ns() - before
        counters.steps += 1
        if not code:
            counters.computed += batch.count
        return code

    def _recover(self, sequences: list[Sequence], code: int) -> None:
        """Part of the batch may be in the KV cache: continue from there, with a token missing."""
        for sequence in sequences:
            assert sequence.cells
            cells = sequence.cells
            reached = self._memory.count(cells.id)
            cells.computed = min(reached, len(sequence.tokens) - 1, _recoverable(sequence, cells))
            if not self._memory.truncate(cells.id, cells.computed):
                self._memory.clear(cells.id)
                cells.computed = 0
        if code != ABORTED:
            raise BindingError(f"llama.cpp cannot compute this: llama_decode returned {code}")
        self.counters.aborted += 1

    def _sample(self, sequences: list[Sequence]) -> None:
        """Each sequence has one row of logits."""
        logits = self._decode_batch.logits(self._model.context, len(sequences))
        ends = self._ends
        argmax_only = [sequence.argmax_only for sequence in sequences]
        largest = logits.argmax(axis=1).tolist() if True in argmax_only else argmax_only
        for place, sequence in enumerate(sequences):
            token = largest[place]
            if not argmax_only[place] or token in sequence.forbidden:
                self._choose(sequence, logits[place])
            else:
                sequence.take(token, ends)

    def _sample_chunks(self, chunks: list[PromptChunk]) -> None:
        count = sum(chunk.outputs for chunk in chunks)
        if not count:
            return
        logits = iter(self._prefill_batch.logits(self._model.context, count))
        for chunk in chunks:
            tokens, reached = chunk.sequence.tokens, chunk.cells.computed
            for place in range(reached - chunk.outputs + 1, reached + 1):
                row = next(logits)
                if place < len(tokens):
                    self._replay(chunk.sequence, row, tokens[place])
                else:
                    self._choose(chunk.sequence, row)

    def _replay(self, sequence: Sequence, row: Row, token: int) -> None:
        try:
            sequence.sampler.replay(row, token)
        except BindingError as error:
            sequence.fail(error)

    def _choose(self, sequence: Sequence, row: Row) -> None:
        """Now, or in a later step if the grammars of this one have taken their time."""
        if not sequence.has_grammar:
            return self._choose_now(sequence, row)
        if self._grammar_seconds > GRAMMAR_SECONDS:
            sequence.postponed = row.copy()
            return self._postponed.append(sequence)
        before = time.perf_counter()
        self._choose_now(sequence, row)
        self._grammar_seconds += time.perf_counter() - before

    def _choose_now(self, sequence: Sequence, row: Row) -> None:
        """If its grammar takes too long, that ends this sequence only, in its own generator."""
        if sequence.to_replay:
            self._replay(sequence, row, sequence.to_replay[0])
            return sequence.take_replayed()
        try:
            token = sequence.sampler.choose(row)
        except BindingError as error:
            return sequence.fail(error)
        if sequence.logprobs and token is not None and token not in self._ends:
            sequence.request.usage.logprobs.append(logprobs(row, token, sequence.logprobs))
        sequence.take(token, self._ends)


def _recoverable(sequence: Sequence, cells: KvCells) -> int:
    """Tokens whose logits were not read must be computed again."""
    if sequence.sampler.pure_greedy:
        return len(sequence.tokens)
    return max(cells.computed, sequence.prompt_length - 1)
