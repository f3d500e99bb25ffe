"""`llama_batch` over preallocated arrays: a decode batch and a prefill batch."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native import LlamaBatch, decode, get_logits


class _Batch:
    """Up to `size` tokens to compute in one `llama_decode`.

    Each token belongs to one sequence and may request the logits after it. They come
    back as rows, in the order of the requests.
    """

    _batch: LlamaBatch

    def __init__(self, size: int, vocabulary: int) -> None:
        self.size = size
        self._vocabulary = vocabulary
        self._logits: NDArray[np.float32] = np.zeros((0, vocabulary), np.float32)
        self._logits_at = 0
        self.count = 0

    def decode(self, context: int) -> int:
        self._batch.n_tokens = self.count
        code: int = decode(context, self._batch)
        return code

    def logits(self, context: int, count: int) -> NDArray[np.float32]:
        """The `count` requested rows; valid until the next decode."""
        at: int = get_logits(context)
        if at != self._logits_at or count != len(self._logits):
            memory: Any = (ctypes.c_float * (count * self._vocabulary)).from_address(at)
            self._logits = np.frombuffer(memory, np.float32).reshape(count, self._vocabulary)
            self._logits_at = at
        return self._logits


class DecodeBatch(_Batch):
    """The next token of each of several sequences, each with its logits.

    Filled in every step, so without numpy: by then the weights have evicted the code that
    numpy needs for a few numbers from the processor's caches.
    """

    def __init__(self, size: int, vocabulary: int) -> None:
        super().__init__(size, vocabulary)
        numbers = ctypes.c_int32 * size
        self._token: Any = numbers()
        self._sequence: Any = numbers()
        self._one = numbers(*[1] * size)
        self._outputs = (ctypes.c_int8 * size)(*[1] * size)
        start = ctypes.addressof(self._sequence)
        self._pointers = (ctypes.c_void_p * size)(*(start + 4 * n for n in range(size)))
        self._batch = LlamaBatch(
            0, ctypes.addressof(self._token), None, None, ctypes.addressof(self._one),
            ctypes.addressof(self._pointers), ctypes.addressof(self._outputs),
        )  # fmt: skip

    def fill(self, tokens: list[int], sequences: list[int]) -> None:
        """`sequences` are ids. llama.cpp sets the positions: after each sequence's last one."""
        self.count = count = len(tokens)
        self._token[:count] = tokens
        self._sequence[:count] = sequences


class PrefillBatch(_Batch):
    """Consecutive prompt tokens of several sequences."""

    def __init__(self, size: int, vocabulary: int) -> None:
        super().__init__(size, vocabulary)
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._sequence = np.zeros(size, np.int32)
        self._outputs = np.zeros(size, np.int8)
        self._one = np.ones(size, np.int32)
        self._pointers = self._sequence.ctypes.data + 4 * np.arange(size, dtype=np.uint64)
        self._batch = LlamaBatch(
            0, self._token.ctypes.data, None, self._position.ctypes.data, self._one.ctypes.data,
            self._pointers.ctypes.data, self._outputs.ctypes.data,
        )  # fmt: skip

    def clear(self) -> None:
        self.count = 0

    def add(self, tokens: list[int], position: int, sequence: int, outputs: int) -> None:
        """Tokens of one sequence from `position` on; the last `outputs` request logits."""
        start, end = self.count, self.count + len(tokens)
        self._token[start:end] = tokens
        self._position[start:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._sequence[start:end] = sequence
        self._outputs[start:end] = 0
        self._outputs[end - outputs : end] = 1
        self.count = end
