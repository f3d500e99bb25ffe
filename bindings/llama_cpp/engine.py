"""Which tokens go into the next `llama_decode`?

One step computes a token for every sequence that decodes, and then as much of
the waiting prompts as is allowed beside them: a batch of few tokens and one of
many, because llama.cpp takes longer for them together. A sequence whose last
token has not been taken is left out, so a slow client holds up only itself.
Everything but `interrupt` and `prefilling` belongs to the model thread.
"""

from worker.binding import BindingError, Request

from .decoder import Computing, Counters, Part
from .kv_memory import Residence
from .model import LlamaModel
from .prefix_cache import WORTH_KEEPING, Cells, Kept, Shelf
from .sampler import Candidates, Sampler
from .sampler_chain import Chain
from .sequence import Sequence
from .settings import REPLAYED


class Engine:
    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._vocabulary = model.vocabulary
        self._residence = Residence(model)
        self._shelf = Shelf(
            model.settings.parallel, model.plan.kept, copies=self._residence.separate
        )
        self._candidates = Candidates(model.vocabulary.size)
        self._computing = Computing(model, self._residence)
        self._sequences: dict[Request, Sequence] = {}
        self._waiting: list[Sequence] = []
        self._prompts: list[Sequence] = []  # admitted, more than one token missing
        self._decoding: list[Sequence] = []  # admitted, one token missing; by their ids
        self._unsorted = False
        self._left: list[Cells] = []  # of those that are over, still in memory
        self._gaps = False  # among the ids, perhaps
        self._prefilling: frozenset[Sequence] = frozenset()  # in the step that runs
        self.passes = 0
        """Calls of `step`: whoever saw it move had a turn."""
        self.chunk = model.settings.chunk

    @property
    def counters(self) -> Counters:
        return self._computing.counters

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
        """Its computed beginning is kept, as long as there is room for it: before the next step
        or in `rest`, so that nobody waits for the end of an answer while it is copied.
        """
        del self._sequences[sequence.request]
        sequence.sampler.close()
        if sequence.cells is None:
            self._waiting.remove(sequence)
            return
        (self._decoding if sequence in self._decoding else self._prompts).remove(sequence)
        self._left.append(sequence.cells)

    def rest(self) -> bool:
        """Clear one away while nobody waits; whether there are more."""
        if self._left:
            self._clear_away(self._left.pop(0))
        return bool(self._left)

    def _clear_away(self, cells: Cells) -> None:
        self._keep(cells)
        self._shelf.leave(cells)
        self._residence.clear(cells.id)
        self._gaps = self._residence.separate

    def _keep(self, cells: Cells) -> None:
        if self._model.forgets_parts or cells.computed < WORTH_KEEPING:
            return
        if not self._shelf.has_room_for(self._residence.size(cells.id)):
            return
        state = self._residence.save(cells.id)
        if state is not None:
            self._shelf.keep(cells.tokens[: cells.computed], state, len(state))

    def interrupt(self, request: Request) -> None:
        """From any thread: do not finish a prefill that is for nobody.

        The order matters, here and in `_prefill`: either that sees the flag
        before it starts, or it is seen to be running and is aborted.
        """
        sequence = self._sequences.get(request)
        if sequence:
            sequence.interrupted = True
            if sequence in self._prefilling:
                self._model.abort.raise_()

    def forget(self) -> int:
        """Drop what finished generations left for others; how many tokens still are in memory."""
        while self.rest():
            pass
        self._shelf.forget()
        return sum(map(self._residence.count, range(self._shelf.names)))

    @property
    def running(self) -> int:
        """Generations that joined and did not leave."""
        return len(self._sequences)

    def prefilling(self, request: Request) -> bool:
        """Whether a step computes its prompt right now; from any thread."""
        return self._sequences.get(request) in self._prefilling

    # A step.

    def step(self) -> bool:
        """Compute what is to be computed; False if there was nothing."""
        self.passes += 1
        while self._left:
            self.rest()
        if self._waiting:
            self._admit()
        if self._gaps:
            self._close_gaps()
        if self._unsorted:
            self._sort()
        decoding = [s for s in self._decoding if not (s.ready or s.ended)]
        if decoding:
            self._model.abort.lower()  # an interrupt may have come when its prefill just was over
            self._unsorted = True
            self._unsorted = not self._computing.decode(decoding)
        if self._prompts:
            return self._prefill(len(decoding)) or bool(decoding)
        return bool(decoding)

    def _prefill(self, beside: int) -> bool:
        parts = self._parts(beside)
        self._model.abort.lower()
        self._prefilling = frozenset(part.sequence for part in parts)
        try:
            if any(sequence.interrupted for sequence in self._prefilling):
                return True  # it is about to leave: plan anew without it
            if parts:
                self._unsorted = True
                self._computing.prefill(parts)
            return bool(parts)
        finally:
            self._prefilling = frozenset()

    def _sort(self) -> None:
        """A prompt that is computed decodes from now on; what lost its cells is a prompt again."""
        admitted = self._decoding + self._prompts
        self._decoding = [s for s in admitted if s.missing <= 1]
        self._decoding.sort(key=Sequence.id)
        self._prompts = [s for s in admitted if s.missing > 1]
        self._unsorted = False

    def _parts(self, beside: int) -> list[Part]:
        """Whose prompts to go on with, in the order they came, and how many tokens of each.

        Who waits for a prompt counts as much as who waits for a token: if they are more than
        the `beside` that decode, they get more chunks than one.
        """
        budget = self._computing.size
        if beside:
            budget = min(budget, self.chunk * max(1, len(self._prompts) // beside))
        rows = REPLAYED
        parts = []
        for sequence in self._prompts:
            part = Part.of(sequence, min(sequence.missing, budget), rows)
            if part.count > 0 and not sequence.ended:
                rows -= part.replayed
                budget -= part.count
                parts.append(part)
        return parts

    def _admit(self) -> None:
        """In the order they came, as many as are sure to have room to their ends."""
        taken = sum(sequence.reserved for sequence in self._decoding + self._prompts)
        for sequence in list(self._waiting):
            if taken and taken + sequence.reserved > self._model.plan.cells:
                return
            if self._prompts and self._shelf.promises(sequence.tokens, self._most(sequence)):
                continue
            taken += sequence.reserved
            self._waiting.remove(sequence)
            self._place(sequence)

    def _most(self, sequence: Sequence) -> int:
        """How much it may share: what is sampled behind must be computed."""
        return 0 if self._model.forgets_parts else sequence.first - 1

    def _place(self, sequence: Sequence) -> None:
        place = self._shelf.join(sequence.tokens, self._most(sequence))
        sequence.cells = cells = place.cells
        residence, source = self._residence, place.source
        if isinstance(source, Kept):
            there = residence.load(cells.id, source.state, cells.computed)
        else:
            there = source is None or residence.share(source.id, cells.id, cells.computed)
        if not there:
            cells.computed = 0
        sequence.request.usage.reused_tokens = cells.computed
        self.counters.reused += cells.computed
        self._prompts.append(sequence)
        self._unsorted = True

    def _close_gaps(self) -> None:
        """Whoever is behind a gap comes forward: with a copy now, but neighbours are quicker."""
        self._gaps = False
        while gap := self._shelf.gap():
            cells, id = gap
            if cells.computed and not self._residence.share(cells.id, id, cells.computed):
                return
            self._residence.clear(cells.id)
            self._shelf.rename(cells, id)
            self._unsorted = True
