"""KV cache memory of sequences: save, load, share, truncate and clear their cells.

All sequences have one unified KV cache, or each has its own. In a unified one, cells are
shared by adding a reference. Between two they are copied, which takes a hundredth of the
time of computing them; in return a decoding sequence does not scan another's cells.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .model import LlamaModel
from .native import (
    memory_copy,
    memory_last,
    memory_remove,
    state_load,
    state_save,
    state_size,
)  # fmt: skip

State = NDArray[Any]
"""The bytes of a sequence's cells as llama.cpp writes them; only the same context reads them."""


class KvMemory:
    """Addressed by sequence id. For the model thread, between two steps."""

    def __init__(self, model: LlamaModel) -> None:
        self._context = model.context
        self._memory = model.memory
        self.separate = model.plan.separate
        """Each sequence has its own KV cache."""

    def size(self, id: int) -> int:
        """Bytes that `save` would take."""
        size: int = state_size(self._context, id)
        return size

    def save(self, id: int) -> State | None:
        """A copy of all cells of the sequence; None if llama.cpp cannot make one."""
        state = np.empty(self.size(id), np.uint8)
        written: int = state_save(self._context, state.ctypes.data, len(state), id)
        return state if written == len(state) else None

    def load(self, id: int, state: State, count: int) -> bool:
        """Load the first `count` saved cells; False, and no cells at all, if it fails."""
        if not state_load(self._context, state.ctypes.data, len(state), id):
            self.clear(id)
            return False
        return self.truncate(id, count)

    def share(self, source: int, id: int, count: int) -> bool:
        """Share the first `count` cells of `source`; False, and no cells at all, if it fails."""
        if not self.separate:
            memory_copy(self._memory, source, id, 0, count)
            return True
        state = self.save(source)
        return state is not None and self.load(id, state, count)

    def truncate(self, id: int, count: int) -> bool:
        """Keep the first `count` cells; False if the model's state cannot be truncated."""
        done: bool = memory_remove(self._memory, id, count, -1)
        return done

    def clear(self, id: int) -> None:
        memory_remove(self._memory, id, -1, -1)

    def count(self, id: int) -> int:
        """Cells up to the sequence's last."""
        return int(memory_last(self._memory, id)) + 1
