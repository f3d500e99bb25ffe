"""Which tokens go into the next `llama_decode`, and what comes of it?

One step computes one batch: a token for every sequence that decodes, and as
much of the waiting prompts as is allowed beside them. A sequence whose last
token has not been taken is left out, so a slow client holds up only itself.
Everything but `interrupt` belongs to the model thread.
"""

import logging
import time
from dataclasses import dataclass

from worker.binding import BindingError, Request

from .batch import Rows
from .cells import Shelf
from .chain import Chain
from .model import LlamaModel
from .native import ABORTED, NO_ROOM, memory_copy, memory_last, memory_remove
from .sampler import Candidates, Sampler, logprobs
from .sequence import Sequence
from .settings import REPLAYED

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """Since the model was loaded."""

    steps: int = 0
    decoding_ns: int = 0
    """Wall time inside `llama_decode`."""
    computed: int = 0
    """Tokens that were computed, prompts and answers."""
    reused: int = 0
    """Prompt tokens that were not."""
    aborted: int = 0
    """Steps cut short by a cancel."""


class Engine:
    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._vocabulary = model.vocabulary
        self._shelf = Shelf(model.settings.sequences)
        self._rows = Rows(model.settings.rows, model.vocabulary.size)
        self._candidates = Candidates(model.vocabulary.size)
        self._sequences: dict[Request, Sequence] = {}
        self._waiting: list[Sequence] = []
        self._admitted: list[Sequence] = []
        self._prefilling: frozenset[Sequence] = frozenset()
        self.passes = 0
        """Calls of `step`: whoever saw it move had a turn."""
        self.chunk = model.settings.chunk
        self.counters = Counters()

    # A sequence's life.

    def join(self, request: Request) -> Sequence:
        """Raises BindingError for what cannot be sampled."""
        model, vocabulary = self._model, self._vocabulary
        prompt = list(request.tokens) or vocabulary.tokenize(request.prompt) or [vocabulary.filler]
        wrong = next((t for t in (*prompt, *request.resume) if not 0 <= t < vocabulary.size), None)
        if wrong is not None:
            raise BindingError(f"the model has no token {wrong}")
        context = model.plan.context
        if len(prompt) >= context:
            raise BindingError(f"the prompt has {len(prompt)} tokens, the context has {context}")
        chain = Chain(
            request.sampling, vocabulary.address, vocabulary.size, context, vocabulary.ends
        )
        chain.remember(prompt)
        sequence = Sequence(request, prompt, Sampler(chain, self._candidates), context)
        self._sequences[request] = sequence
        self._waiting.append(sequence)
        return sequence

    def leave(self, sequence: Sequence) -> None:
        """Its computed beginning stays, until its room is needed."""
        del self._sequences[sequence.request]
        sequence.sampler.close()
        if sequence.cells is None:
            self._waiting.remove(sequence)
            return
        self._admitted.remove(sequence)
        keep = not self._model.forgets_parts
        if not self._shelf.leave(sequence.cells, keep=keep):
            self._remove(sequence.cells.id)

    def interrupt(self, request: Request) -> None:
        """From any thread: do not finish a prefill that is for nobody.

        The order matters, here and in `step`: either the step sees the flag
        before it starts, or it is seen to be running and is aborted.
        """
        sequence = self._sequences.get(request)
        if sequence:
            sequence.interrupted = True
            if sequence in self._prefilling:
                self._model.abort.raise_()

    def forget(self) -> int:
        """Drop what finished generations left for others; how many tokens still are in memory."""
        while (oldest := self._shelf.drop_oldest()) is not None:
            self._remove(oldest)
        memory = self._model.memory
        return sum(int(memory_last(memory, id)) + 1 for id in range(self._shelf.size))

    @property
    def running(self) -> int:
        """Generations that joined and did not leave."""
        return len(self._sequences)

    def prefilling(self, request: Request) -> bool:
        """Whether a step computes its prompt right now; from any thread."""
        return self._sequences.get(request) in self._prefilling

    # A step.

    def step(self) -> bool:
        """Compute one batch; False if there was nothing to compute."""
        self.passes += 1
        self._admit()
        decoding = [s for s in self._admitted if s.missing == 1 and not (s.ready or s.ended)]
        prefilling = self._prompts(self.chunk if decoding else self._rows.size, len(decoding))
        self._model.abort.lower()
        self._prefilling = frozenset(sequence for sequence, _ in prefilling)
        try:
            if any(sequence.interrupted for sequence in self._prefilling):
                return True  # it is about to leave: plan anew without it
            if not (decoding or prefilling):
                return False
            wanted = self._compose(decoding, prefilling)
            self._compute(decoding, prefilling, wanted)
            return True
        finally:
            self._prefilling = frozenset()

    def _admit(self) -> None:
        """In the order they came, as many as are sure to have room to their ends."""
        taken = sum(sequence.reserved for sequence in self._admitted)
        while self._waiting:
            sequence = self._waiting[0]
            if taken and taken + sequence.reserved > self._model.plan.cells:
                return
            taken += sequence.reserved
            self._admitted.append(self._waiting.pop(0))
            self._place(sequence)

    def _place(self, sequence: Sequence) -> None:
        most = 0 if self._model.forgets_parts else sequence.first - 1
        place = self._shelf.join(sequence.tokens, most)
        sequence.cells = cells = place.cells
        for dropped in place.dropped:
            self._remove(dropped)
        memory = self._model.memory
        if place.source == cells.id:
            memory_remove(memory, cells.id, cells.computed, -1)
        elif place.source is not None:
            memory_copy(memory, place.source, cells.id, 0, cells.computed)
        sequence.request.usage.reused_tokens = cells.computed
        self.counters.reused += cells.computed

    def _prompts(self, budget: int, decoding: int) -> list[tuple[Sequence, int]]:
        """Whose prompts to go on with, and how many tokens of each."""
        budget = min(budget, self._rows.size - decoding)
        rows = REPLAYED
        chosen = []
        for sequence in self._admitted:
            missing = sequence.missing
            if missing == 1 or sequence.ended:
                continue
            count = min(missing, budget)
            replayed = self._wanted(sequence, count) - (count == missing)
            if replayed > rows:
                count -= replayed - rows
                replayed = rows
            if count <= 0:
                continue
            rows -= replayed
            budget -= count
            chosen.append((sequence, count))
        return chosen

    @staticmethod
    def _wanted(sequence: Sequence, count: int) -> int:
        """How many of the next `count` tokens must show what comes behind them."""
        assert sequence.cells
        reached = sequence.cells.computed + count
        if sequence.sampler.plain:
            return int(reached == len(sequence.tokens))
        return max(0, min(count, reached - sequence.first + 1))

    def _compose(
        self, decoding: list[Sequence], prefilling: list[tuple[Sequence, int]]
    ) -> list[tuple[Sequence, int]]:
        """Fill the batch; whose logits come back in which order, and behind how many tokens."""
        rows, wanted = self._rows, []
        rows.clear()
        rows.add_singles(
            [s.tokens[-1] for s in decoding],
            [len(s.tokens) - 1 for s in decoding],
            [s.cells.id for s in decoding if s.cells],
        )
        wanted = [(s, len(s.tokens)) for s in decoding]
        for sequence, count in prefilling:
            assert sequence.cells
            start = sequence.cells.computed
            asked = self._wanted(sequence, count)
            rows.add_run(sequence.tokens[start : start + count], start, sequence.cells.id, asked)
            wanted += [(sequence, start + count - asked + n + 1) for n in range(asked)]
        return wanted

    def _compute(
        self,
        decoding: list[Sequence],
        prefilling: list[tuple[Sequence, int]],
        wanted: list[tuple[Sequence, int]],
    ) -> None:
        counters, context = self.counters, self._model.context
        before = time.perf_counter_ns()
        code = self._rows.decode(context)
        while code == NO_ROOM and (oldest := self._shelf.drop_oldest()) is not None:
            self._remove(oldest)
            code = self._rows.decode(context)
        counters.decoding_ns += time.perf_counter_ns() - before
        counters.steps += 1
        if code:
            self._recover([*decoding, *(s for s, _ in prefilling)], code)
            return
        counters.computed += self._rows.count
        for sequence in decoding:
            assert sequence.cells
            sequence.cells.computed += 1
        for sequence, count in prefilling:
            assert sequence.cells
            sequence.cells.computed += count
        if wanted:
            self._sample(wanted)

    def _recover(self, sequences: list[Sequence], code: int) -> None:
        """Part of the batch may be in memory: go on from there, and keep one token to compute."""
        memory = self._model.memory
        for sequence in sequences:
            assert sequence.cells
            cells = sequence.cells
            reached = int(memory_last(memory, cells.id)) + 1
            cells.computed = min(reached, len(sequence.tokens) - 1, self._keepable(sequence))
            if not memory_remove(memory, cells.id, cells.computed, -1):
                self._remove(cells.id)
                cells.computed = 0
        if code == ABORTED:
            self.counters.aborted += 1
        else:
            raise BindingError(f"llama.cpp cannot compute this: llama_decode returned {code}")

    def _keepable(self, sequence: Sequence) -> int:
        """What was computed without its row being read must be computed again."""
        assert sequence.cells
        if sequence.sampler.plain:
            return len(sequence.tokens)
        return max(sequence.cells.computed, sequence.first - 1)

    def _sample(self, wanted: list[tuple[Sequence, int]]) -> None:
        logits = self._rows.logits(self._model.context, len(wanted))
        ends = self._vocabulary.ends
        if all(s.sampler.plain and not s.logprobs for s, _ in wanted):
            for (sequence, _), token in zip(wanted, logits.argmax(axis=1).tolist(), strict=True):
                sequence.take(token, ends)
            return
        for row, (sequence, place) in zip(logits, wanted, strict=True):
            if place < len(sequence.tokens):
                sequence.sampler.replay(row, sequence.tokens[place])
                continue
            token = sequence.sampler.choose(row)
            if sequence.logprobs and token is not None and token not in ends:
                sequence.request.usage.logprobs.append(logprobs(row, token, sequence.logprobs))
            sequence.take(token, ends)

    def _remove(self, id: int) -> None:
        memory_remove(self._model.memory, id, -1, -1)
