"""The `llama_cpp` binding: loads GGUF models and generates with continuous batching.

All methods run on the model thread, except `interrupt` and `progress`. Grammars are compiled
on another.
"""

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import wait
from typing import TypeVar

from worker.binding import Binding, BindingError, Model, ModelLost, ModelNotFound, Piece, Request

from . import gguf_header, memory_plan
from .background import Background
from .chat_template import ChatTemplate
from .embedding import Embedder
from .engine import Engine
from .grammar_compiler import GrammarCompiler, wanted
from .model import LlamaModel, on_gpu
from .settings import Settings, read
from .token_index import GrammarState
from .vocabulary import Vocabulary

log = logging.getLogger(__name__)

IDLE_SLEEP = 0.002
"""Seconds to sleep when no sequence can be computed: each waits for its client or for memory."""


SHORT_TEXT = 50_000
"""Characters, or tokens, that are tokenised, or detokenised, in some milliseconds."""
TOKENIZE_SECONDS = 10.0
"""A million characters take up to 0.7 s; what takes longer than this counts as hung."""
BUSY, IDLE = 0.04, 0.12
"""Seconds for a chunk of an embedding, while generations run and while none does."""

Result = TypeVar("Result")


class LlamaCpp(Binding):
    resumable = True

    def __init__(self) -> None:
        self._model: LlamaModel | None = None
        self.engine: Engine | None = None
        """Public for tests and benchmarks; None while no model is loaded."""
        self._embedder: Embedder | None = None
        self._background = Background()
        self._grammars: GrammarCompiler | None = None
        self._template: ChatTemplate | None = None
        self._details: dict[str, str] = {}

    def load(self, model: Model) -> None:
        """Load the new model beside the old one, which is closed only after that succeeds.

        If memory is too small for both, the old one is closed first; then an error is
        ModelLost.
        """
        if model.path is None:
            raise ModelNotFound(f"{model.name} has no file")
        settings = read(model.settings)
        header = gguf_header.read(model.path)
        template = self._template_of(header) if settings.chat_template else None
        plan, beside = self._plan_memory(model, header, settings)
        if not beside:
            log.warning(
                "too little memory for two models: closing the old one before %s", model.name
            )
            self.close()
        try:
            loaded = LlamaModel(model.path, settings, plan, model.progress)
        except BindingError as error:
            if beside:
                raise
            raise ModelLost(f"{error}; the model before had to make room for it") from error
        self.close()
        self._model = loaded
        self.engine = Engine(loaded)
        self._grammars = GrammarCompiler(loaded.vocabulary)
        self._template = template
        if template:
            template.bos, template.eos = loaded.vocabulary.bos_eos_names()
        self._details = loaded.details(header)
        self.slots, self.context_size = settings.parallel, plan.context
        self.mapped = loaded.mapped

    def _template_of(self, header: gguf_header.Header) -> ChatTemplate | None:
        source = str(header.metadata.get("tokenizer.chat_template", ""))
        return ChatTemplate(source) if source else None

    def _plan_memory(
        self, model: Model, header: gguf_header.Header, settings: Settings
    ) -> tuple[memory_plan.MemoryPlan, bool]:
        """What loading will take, and whether it fits beside the loaded model. Raises OutOfMemory
        if it does not fit in its place either."""
        counts = settings.check_memory and not on_gpu(settings)
        available = memory_plan.available(mapped=model.mapped) if counts else None
        plan = memory_plan.plan(
            header,
            n_ctx=settings.n_ctx,
            parallel=settings.parallel,
            n_cells=settings.n_cells,
            kv_unified=settings.kv_unified,
            type_k=settings.type_k,
            type_v=settings.type_v,
            available=available,
            stretched=settings.stretched,
            kept_memory=settings.kept_memory,
        )
        whole = memory_plan.whole()
        if not self._model or available is None:
            return plan, memory_plan.check(plan, available, whole=whole)
        freed, mapped = self._model.plan.total, self._model.mapped
        if self._model.path == model.path:  # both have the same pages
            freed -= mapped
        else:
            available -= mapped
        return plan, memory_plan.check(plan, available, freed=freed, whole=whole)

    def generate(self, request: Request) -> Iterator[Piece]:
        engine = self._loaded()
        grammar = (yield from self._compiled(request, engine)) if wanted(request.sampling) else None
        sequence = engine.join(request, grammar)
        try:
            seen = engine.passes
            yield Piece()
            pieces = self._pieces()
            if request.resume:
                yield Piece(b"".join(pieces[token] for token in request.resume), request.resume)
            for _ in range(request.n_predict - len(request.resume)):
                while not sequence.ready:
                    if sequence.ended:
                        if sequence.failure:
                            raise sequence.failure
                        return
                    if seen == engine.passes and not engine.step():
                        time.sleep(IDLE_SLEEP)
                    seen = engine.passes
                    if not sequence.ready and not sequence.ended:
                        yield Piece()
                token = sequence.ready.popleft()
                yield Piece(pieces[token], (token,))

        finally:
            engine.leave(sequence)

    def _compiled(self, request: Request, engine: Engine) -> Generator[Piece, None, GrammarState]:
        """The grammar of a request, which another thread compiles meanwhile."""
        assert self._grammars
        compiling = self._grammars.start(request.sampling)
        try:
            while not compiling.done():
                seen = engine.passes
                yield Piece()
                if seen == engine.passes:
                    wait([compiling], IDLE_SLEEP)
            return compiling.result()
        finally:
            compiling.cancel()

    def _loaded(self) -> Engine:
        if not self.engine or not self._model:
            raise BindingError("no model is loaded")
        if not self._model.generates:
            raise BindingError("this model makes embeddings and no text")
        return self.engine

    def _pieces(self) -> list[bytes]:
        assert self._model
        return self._model.vocabulary.pieces

    def rest(self) -> bool:
        return bool(self.engine and self.engine.rest())

    def interrupt(self, request: Request) -> None:
        if self.engine:
            self.engine.interrupt(request)

    def compose(self, system: str, turns: Sequence[str]) -> str | None:
        return self._template.render(system, turns) if self._template else None

    def tokenize(self, text: str) -> list[int]:
        return self._vocabulary().tokenize(text)

    def tokenize_pieces(self, text: str) -> Iterator[list[int] | None]:
        tokenize = self._vocabulary().tokenize
        yield (yield from self._aside(lambda: tokenize(text), len(text)))

    def detokenize(self, tokens: list[int]) -> bytes:
        return self._vocabulary().detokenize(tokens)

    def detokenize_pieces(self, tokens: list[int]) -> Iterator[bytes | None]:
        detokenize = self._vocabulary().detokenize
        yield (yield from self._aside(lambda: detokenize(tokens), len(tokens)))

    def _vocabulary(self) -> Vocabulary:
        if not self._model:
            raise BindingError("no model is loaded")
        return self._model.vocabulary

    def _aside(self, call: Callable[[], Result], length: int) -> Generator[None, None, Result]:
        """The result of `call`. A long one cannot be cut exactly, so another thread makes it."""
        if length <= SHORT_TEXT:
            return call()
        end = time.monotonic() + TOKENIZE_SECONDS
        return (yield from self._background.run(call, lambda: time.monotonic() < end))

    def embed(self, text: str) -> list[float]:
        """A vector of length 1; BindingError if the settings or the model exclude embeddings."""
        return next(vector for vector in self.embed_pieces(text) if vector)

    def embed_pieces(self, text: str) -> Iterator[list[float] | None]:
        vocabulary = self._vocabulary()
        assert self._model
        if not self._model.settings.embeddings:
            raise BindingError("embeddings are switched off in the settings")
        tokens = yield from self._aside(lambda: vocabulary.tokenize(text), len(text))
        if not self._embedder:
            self._embedder = Embedder(self._model, self._background)
        yield from self._embedder.embed(
            tokens or [vocabulary.filler],
            lambda: BUSY if self.engine and self.engine.running else IDLE,
        )

    def progress(self) -> int:
        """Operations of the graph that `llama_decode` has computed."""
        model, embedder = self._model, self._embedder
        return (model.abort.operations if model else 0) + (embedder.operations if embedder else 0)

    def details(self) -> dict[str, str]:
        return self._details

    def close(self) -> None:
        self._background.close()
        if self._embedder:
            self._embedder.close()
        if self._grammars:
            self._grammars.close()
        if self._model:
            self._model.close()
        self._grammars = None
        self._model = self.engine = self._embedder = self._template = None
        self._details = {}
        self.mapped = 0


binding = LlamaCpp
