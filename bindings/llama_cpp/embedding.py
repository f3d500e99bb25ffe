"""Compute the embedding vector of a text, in a llama.cpp context of its own.

A text is computed in chunks of some milliseconds, so that generations go on between
them. llama.cpp pools each `llama_decode` by itself, so the embeddings of the tokens are
pooled here. An encoder reads the whole text at once: that is one call on another
thread, and such a model has no generations.
"""

import ctypes
import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.binding import BindingError, ContextOverflow

from . import library_log, memory_plan
from .background import Background
from .model import LlamaModel
from .native import AbortFlag, address, api, get_embeddings, memory_clear
from .pace import Pace

NO_POOLING, MEAN, FIRST_TOKEN, LAST_TOKEN, RANK = range(5)
"""`llama_pooling_type`. Without pooling the vector is the mean, too."""

Vector = NDArray[np.float64]


class Embedder:
    """Has its own context, so that a text never disturbs the running generations."""

    def __init__(self, model: LlamaModel, background: Background) -> None:
        """Raises BindingError if the memory is too small, or the model makes no embeddings."""
        self._background = background
        self._chunked = model.causal
        self._pooling = model.pooling
        if self._pooling == RANK:
            raise BindingError("this model ranks texts and makes no embeddings")
        plan = memory_plan.embedding(model.plan, model.vocabulary.size, chunked=self._chunked)
        if model.settings.check_memory:
            memory_plan.check_embedding(plan, memory_plan.available())
        self._size = plan.context
        self._context = model.embedding_context(plan, chunked=self._chunked)
        self._width: int = api.llama_model_n_embd(model.model)
        self._pace = Pace(plan.rows)
        self._abort = AbortFlag(address(self._context))

    @property
    def operations(self) -> int:
        """See `AbortFlag.operations`."""
        return self._abort.operations

    def embed(
        self, tokens: list[int], seconds: Callable[[], float]
    ) -> Iterator[list[float] | None]:
        """None after each chunk, for which there are `seconds()`, then a vector of length 1."""
        if len(tokens) > self._size:
            raise ContextOverflow(f"the text has {len(tokens)} tokens, at most {self._size} fit")
        if memory := api.llama_get_memory(self._context):
            memory_clear(address(memory), False)
        self._abort.clear()
        library_log.clear_errors()
        if self._chunked:
            vector = yield from self._in_chunks(tokens, seconds)
        else:
            vector = yield from self._at_once(tokens)
        yield (vector / (math.sqrt(vector @ vector) or 1.0)).tolist()

    def _in_chunks(
        self, tokens: list[int], seconds: Callable[[], float]
    ) -> Generator[None, None, Vector]:
        """Only the tokens that are pooled have outputs: each takes a row of logits besides."""
        if self._pooling == FIRST_TOKEN:
            tokens = tokens[:1]  # it does not see the others
        without = len(tokens) - 1 if self._pooling == LAST_TOKEN else 0
        total = np.zeros(self._width)
        start = 0
        while start < len(tokens):
            if start:
                yield
            outputs = start >= without
            end = min(start + self._pace.fits(seconds()), len(tokens) if outputs else without)
            self._decode(tokens[start:end], outputs=outputs)
            if outputs:
                total += self._rows(end - start).sum(axis=0)
            start = end
        return total

    def _at_once(self, tokens: list[int]) -> Generator[None, None, Vector]:
        seen = 0

        def advances() -> bool:
            nonlocal seen
            before, seen = seen, self._abort.operations
            return seen != before

        yield from self._background.run(
            lambda: self._decode(tokens), alive=advances, stop=self._abort.set
        )
        if self._pooling == NO_POOLING:
            total: Vector = self._rows(len(tokens)).sum(axis=0)
            return total
        found = api.llama_get_embeddings_seq(self._context, 0)
        if not found:
            raise BindingError("the model gives no embedding")
        return np.array(found[: self._width], np.float64)

    def _decode(self, tokens: list[int], *, outputs: bool = True) -> None:
        count = len(tokens)
        given = (ctypes.c_int32 * count)(*tokens)  # kept alive: the batch has its address
        wanted = (ctypes.c_int8 * count)(*[outputs] * count)
        batch = api.llama_batch_get_one(given, count)
        batch.logits = wanted
        api.llama_set_embeddings(self._context, outputs)
        before = time.perf_counter()
        code = api.llama_decode(self._context, batch)
        self._pace.record(count, time.perf_counter() - before)
        if code:
            why = library_log.first_error("no reason given")
            raise BindingError(f"the text cannot be embedded: {why}")

    def _rows(self, count: int) -> Vector:
        """The embeddings of the tokens of the last decode."""
        at = get_embeddings(address(self._context))
        if not at:
            raise BindingError("the model gives no embedding")
        memory: Any = (ctypes.c_float * (count * self._width)).from_address(at)
        return np.frombuffer(memory, np.float32).reshape(count, -1).astype(np.float64)

    def close(self) -> None:
        api.llama_free(self._context)
