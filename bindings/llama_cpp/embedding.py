"""Compute the embedding vector of a text, in a llama.cpp context of its own."""

import ctypes
import math

from worker.binding import BindingError, ContextOverflow

from . import library_log
from .model import LlamaModel
from .native import address, api, memory_clear

NO_POOLING = 0


class Embedder:
    """Has its own context, so that a text never disturbs the running generations."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._context = model.embedding_context()
        self._pooled = api.llama_pooling_type(self._context) != NO_POOLING
        self._width: int = api.llama_model_n_embd(model.model)
        self._size: int = api.llama_n_ctx(self._context)

    def embed(self, text: str) -> list[float]:
        tokens = self._model.vocabulary.tokenize(text) or [self._model.vocabulary.filler]
        if len(tokens) > self._size:
            raise ContextOverflow(f"the text has {len(tokens)} tokens, at most {self._size} fit")
        given = (ctypes.c_int32 * len(tokens))(*tokens)  # kept alive: the batch has its address
        wanted = (ctypes.c_int8 * len(tokens))(*[1] * len(tokens))
        batch = api.llama_batch_get_one(given, len(tokens))
        batch.logits = wanted
        memory = api.llama_get_memory(self._context)
        if memory:
            memory_clear(address(memory), False)
        library_log.clear_errors()
        if api.llama_decode(self._context, batch):
            why = library_log.first_error("no reason given")
            raise BindingError(f"the text cannot be embedded: {why}")
        vector = self._vector(len(tokens))
        length = math.sqrt(sum(x * x for x in vector)) or 1.0
        return [x / length for x in vector]

    def _vector(self, count: int) -> list[float]:
        """The pooled embedding, or for a model without pooling the mean over all tokens."""
        if self._pooled:
            found = api.llama_get_embeddings_seq(self._context, 0)
            if not found:
                raise BindingError("the model gives no embedding")
            return list(found[: self._width])
        rows = [api.llama_get_embeddings_ith(self._context, n) for n in range(count)]
        if not all(rows):
            raise BindingError("the model gives no embedding")
        return [sum(row[x] for row in rows) / count for x in range(self._width)]

    def close(self) -> None:
        api.llama_free(self._context)
