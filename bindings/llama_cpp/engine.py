"""Continuous batching: which tokens of which sequences go into the next `llama_decode`.

A step decodes one token of each sequence whose prompt is computed, and then prefills as
many tokens of the other prompts as are allowed beside them. These are two batches, one
of few tokens and one of many, because llama.cpp takes longer for both together. A
sequence whose last token was not taken is left out, so a slow client delays only itself.
Everything but `interrupt` and `prefilling` belongs to the model thread.
"""

from worker.binding import BindingError, Request

from .decoder import Counters, Decoder, PromptChunk
from .kv_memory import KvMemory
from .model import LlamaModel
from .pace import BEGINNING, whole_tiles
from .prefix_cache import WORTH_KEEPING, CachedPrefix, KvCells, PrefixCache
from .sampler import Candidates, Sampler
from .sampler_chain import SamplerChain
from .sequence import Sequence
from .settings import REPLAY_ROWS
from .token_index import GrammarState


class Engine:
    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._vocabulary = model.vocabulary
        self._memory = KvMemory(model)
        self._prefix_cache = PrefixCache(
            model.settings.parallel, model.plan.prefix_cache, copies=self._memory.separate
        )
        self._candidates = Candidates(model.vocabulary.size)
        self._decoder = Decoder(model, self._memory)
        self._sequences: dict[Request, Sequence] = {}
        self._waiting: list[Sequence] = []
        self._prompts: list[Sequence] = []  # admitted, more than one token missing
        self._decoding: list[Sequence] = []  # admitted, one token missing; sorted by id
        self._unsorted = False
        self._finished: list[KvCells] = []  # still in the KV cache
        self._oldest_is_next = False  # among the prompts, if not all fit into a step
        self._gaps = False  # whether there may be gaps among the ids
        self._prefilling: frozenset[Sequence] = frozenset()  # in the step that runs
        self.passes = 0
        """Calls of `step`. A generation that saw it change has had its turn."""
        self.chunk = model.settings.chunk

    @property
    def counters(self) -> Counters:
        return self._decoder.counters

    # A sequence's life.

    def join(self, request: Request, grammar: GrammarState | None = None) -> Sequence:
        """Raises BindingError for what cannot be sampled. `grammar` is its compiled grammar."""
        model, vocabulary = self._model, self._vocabulary
        prompt = list(request.tokens) or vocabulary.tokenize(request.prompt) or [vocabulary.filler]
        wrong = next((t for t in (*prompt, *request.resume) if not 0 <= t < vocabulary.size), None)
        if wrong is not None:
            raise BindingError(f"the model has no token {wrong}")
        context = model.plan.context
        if len(prompt) >= context:
            raise BindingError(f"the prompt has {len(prompt)} tokens, the context has {context}")
        chain = SamplerChain(
            request.sampling, vocabulary.address, vocabulary.size, context, vocabulary.ends
        )
        chain.accept_prompt(prompt)
        sampler = Sampler(chain, self._candidates, grammar)
        sequence = Sequence(request, prompt, sampler, context)
        self._sequences[request] = sequence
        self._waiting.append(sequence)
        return sequence

    def leave(self, sequence: Sequence) -> None:
        """Its computed tokens go to the prefix cache if they fit: before the next step or in
        `rest`, so that the end of an answer does not wait for the copy.
        """
        del self._sequences[sequence.request]
        sequence.postponed = None
        sequence.sampler.close()
        if sequence.cells is None:
            self._waiting.remove(sequence)
            return
        (self._decoding if sequence in self._decoding else self._prompts).remove(sequence)
        self._finished.append(sequence.cells)

    def rest(self) -> bool:
        """Clear the cells of one finished sequence while idle; returns whether there are more."""
        if self._finished:
            self._release(self._finished.pop(0))
        return bool(self._finished)

    def _release(self, cells: KvCells) -> None:
        self._store(cells)
        self._prefix_cache.release(cells)
        self._memory.clear(cells.id)
        self._gaps = self._memory.separate

    def _store(self, cells: KvCells) -> None:
        if self._model.recurrent or cells.computed < WORTH_KEEPING:
            return
        if not self._prefix_cache.fits(self._memory.size(cells.id)):
            return
        state = self._memory.save(cells.id)
        if state is not None:
            tokens = cells.tokens[: cells.computed]
            self._prefix_cache.store(tokens, state, len(state), cells.holder)

    def interrupt(self, request: Request) -> None:
        """Abort the prefill of a cancelled request; may be called from any thread.

        The order matters, here and in `_prefill`: either that sees the flag
        before it starts, or this sees that it runs and aborts it.
        """
        sequence = self._sequences.get(request)
        if sequence:
            sequence.interrupted = True
            if sequence in self._prefilling:
                self._model.abort.set()

    def clear_cache(self) -> int:
        """Empty the prefix cache; returns how many tokens are still in the KV cache."""
        while self.rest():
            pass
        self._prefix_cache.clear()
        return sum(map(self._memory.count, range(self._prefix_cache.ids)))

    @property
    def running(self) -> int:
        """Generations that joined and did not leave."""
        return len(self._sequences)

    def prefilling(self, request: Request) -> bool:
        """Whether a step computes its prompt right now; may be called from any thread."""
        return self._sequences.get(request) in self._prefilling

    # A step.

    def step(self) -> bool:
        """Compute the next tokens; False if there was nothing to compute."""
        self.passes += 1
        while self._finished:
            self.rest()
        if self._waiting:
            self._admit()
        if self._gaps:
            self._close_gaps()
        if self._unsorted:
            self._sort()
        sampled = self._decoder.sample_postponed()
        decoding = [
            s for s in self._decoding if not (s.ready or s.ended or s.postponed is not None)
        ]
        if decoding:
            self._model.abort.clear()  # an interrupt may have come just after its prefill ended
            self._unsorted = True
            self._unsorted = not self._decoder.decode(decoding)
        if self._prompts:
            return self._prefill(len(decoding)) or bool(decoding) or sampled
        return bool(decoding) or sampled

    def _prefill(self, decoding: int) -> bool:
        chunks = self._prompt_chunks(decoding)
        self._model.abort.clear()
        self._prefilling = frozenset(chunk.sequence for chunk in chunks)
        try:
            if any(sequence.interrupted for sequence in self._prefilling):
                return True  # it is about to leave: plan the next step without it
            if chunks:
                self._unsorted = True
                self._decoder.prefill(chunks)
            return bool(chunks)
        finally:
            self._prefilling = frozenset()

    def _sort(self) -> None:
        """A computed prompt decodes from now on; a sequence that lost cells prefills again."""
        admitted = self._decoding + self._prompts
        self._decoding = [s for s in admitted if s.missing <= 1]
        self._decoding.sort(key=Sequence.id)
        self._prompts = [s for s in admitted if s.missing > 1]
        self._unsorted = False

    def _prompt_chunks(self, decoding: int) -> list[PromptChunk]:
        """The next chunks of prompts."""
        prompts, budget = self._next_prompts(decoding)
        rows = REPLAY_ROWS
        chunks = []
        for sequence in prompts:
            count = whole_tiles(sequence.missing, budget, self._decoder.largest_prefill)
            chunk = PromptChunk.of(sequence, count, rows)
            if chunk.count > 0:
                rows -= chunk.replayed
                budget = max(0, budget - chunk.count)
                chunks.append(chunk)
        return chunks

    def _next_prompts(self, decoding: int) -> tuple[list[Sequence], int]:
        """Whose tokens to compute next, and how many of them.

        All of them if they fit. Else the shortest and the oldest in turns, so that every
        prompt ends and nobody waits for somebody else's long one. Part of a long prompt is
        computed alone: in one batch with a few tokens of another it would take ten times as long.
        """
        prompts = [sequence for sequence in self._prompts if not sequence.ended]
        if len(prompts) < 2:
            self._oldest_is_next = False
            return prompts, self._prefill_budget(prompts, decoding)
        budget = self._prefill_budget(prompts, decoding)
        if sum(sequence.missing for sequence in prompts) <= budget:
            return prompts, budget
        if self._oldest_is_next:
            self._oldest_is_next = False
            return prompts[:1], self._prefill_budget(prompts[:1], decoding)
        self._oldest_is_next = True
        shortest = sorted(prompts, key=lambda sequence: sequence.missing)
        budget = left = self._prefill_budget(shortest[:1], decoding)
        fitting = 0
        for sequence in shortest:
            left -= sequence.missing
            fitting += left >= 0
        return shortest[: max(1, fitting)], budget

    def _prefill_budget(self, prompts: list[Sequence], decoding: int) -> int:
        """How many tokens of `prompts` one step may compute.

        A client that waits for a prompt counts as much as one that waits for a token: if
        there are more prompts than the `decoding` sequences, they get several chunks.
        """
        depth = max((sequence.computed for sequence in prompts), default=0)
        alone = not decoding and len(self._prompts) == 1
        short = len(prompts) > 1 and all(len(each.tokens) <= BEGINNING for each in prompts)
        budget = self._decoder.prefill_size(depth, alone=alone, short=short)
        if decoding:
            budget = min(budget, self.chunk * max(1, len(self._prompts) // decoding))
        return budget

    def _admit(self) -> None:
        """In order of arrival, as many as certainly have enough cells until they end."""
        taken = sum(sequence.reserved for sequence in self._decoding + self._prompts)
        for sequence in list(self._waiting):
            if taken and taken + sequence.reserved > self._model.plan.cells:
                return
            if self._prompts and self._prefix_cache.worth_waiting(
                sequence.tokens, self._most(sequence), sequence.request.holder
            ):
                continue
            taken += sequence.reserved
            self._waiting.remove(sequence)
            self._assign(sequence)

    def _most(self, sequence: Sequence) -> int:
        """How many tokens it may share: those that are followed by sampling must be computed."""
        return 0 if self._model.recurrent else sequence.prompt_length - 1

    def _assign(self, sequence: Sequence) -> None:
        assignment = self._prefix_cache.assign(
            sequence.tokens, self._most(sequence), sequence.request.holder
        )
        sequence.cells = cells = assignment.cells
        memory, source = self._memory, assignment.source
        if isinstance(source, CachedPrefix):
            shared = memory.load(cells.id, source.state, cells.computed)
        else:
            shared = source is None or memory.share(source.id, cells.id, cells.computed)
        if not shared:
            cells.computed = 0
        usage = sequence.request.usage
        usage.reused_tokens = usage.computed_tokens = cells.computed
        self.counters.reused += cells.computed
        self._prompts.append(sequence)
        self._unsorted = True

    def _close_gaps(self) -> None:
        """Move the sequences with the highest ids into gaps: one copy now, then faster steps."""
        self._gaps = False
        while gap := self._prefix_cache.gap():
            cells, id = gap
            if cells.computed and not self._memory.share(cells.id, id, cells.computed):
                return
            self._memory.clear(cells.id)
            self._prefix_cache.renumber(cells, id)
            self._unsorted = True
