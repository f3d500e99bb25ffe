"""What does a `llama_batch` look like whose arrays are filled by numpy?"""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .native import Batch, decode, get_logits


class Rows:
    """Tokens to compute in one `llama_decode`, up to `size` of them.

    Each token belongs to one sequence, at one position, and may ask for the
    logits behind it; these come back as rows in the order they were asked for.
    """

    def __init__(self, size: int, vocabulary: int) -> None:
        self.size = size
        self._vocabulary = vocabulary
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._sequence = np.zeros(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        self._one = np.ones(size, np.int32)
        self._pointers = self._sequence.ctypes.data + 4 * np.arange(size, dtype=np.uint64)
        self._batch = Batch(
            0, self._token.ctypes.data, None, self._position.ctypes.data, self._one.ctypes.data,
            self._pointers.ctypes.data, self._wanted.ctypes.data,
        )  # fmt: skip
        self._logits: NDArray[np.float32] = np.zeros((0, vocabulary), np.float32)
        self._logits_at = 0
        self.count = 0

    def clear(self) -> None:
        self.count = 0

    def add_singles(self, tokens: list[int], positions: list[int], sequences: list[int]) -> None:
        """A token each for several sequences, and the logits behind each."""
        start, end = self.count, self.count + len(tokens)
        self._token[start:end] = tokens
        self._position[start:end] = positions
        self._sequence[start:end] = sequences
        self._wanted[start:end] = 1
        self.count = end

    def advance(self, tokens: list[int]) -> None:
        """The batch before was one of singles, and this is what comes behind each."""
        count = self.count
        self._token[:count] = tokens
        self._position[:count] += 1

    def add_run(self, tokens: list[int], position: int, sequence: int, wanted: int) -> None:
        """Consecutive tokens of one sequence, and the logits behind the last `wanted`."""
        start, end = self.count, self.count + len(tokens)
        self._token[start:end] = tokens
        self._position[start:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._sequence[start:end] = sequence
        self._wanted[start:end] = 0
        self._wanted[end - wanted : end] = 1
        self.count = end

    def decode(self, context: int) -> int:
        self._batch.n_tokens = self.count
        code: int = decode(context, self._batch)
        return code

    def logits(self, context: int, count: int) -> NDArray[np.float32]:
        """The rows asked for, `count` of them; valid until the next decode."""
        at: int = get_logits(context)
        if at != self._logits_at or count > len(self._logits):
            memory: Any = (ctypes.c_float * (count * self._vocabulary)).from_address(at)
            self._logits = np.frombuffer(memory, np.float32).reshape(count, self._vocabulary)
            self._logits_at = at
        return self._logits[:count]
