"""How do a sequence's cells come into the model's memory, from another one there, and out of it?

There is one memory for all sequences, or one for each. In one, cells are shared
by naming them once more; between two they are copied, which takes a hundredth of
the time that computing them takes. In return nobody who decodes passes over
another's cells.
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
"""Bytes of a sequence's cells, as llama.cpp writes them; only the same context reads them."""


class Residence:
    """Of sequences, by their ids. For the model thread, between two steps."""

    def __init__(self, model: LlamaModel) -> None:
        self._context = model.context
        self._memory = model.memory
        self.separate = model.plan.separate
        """Each sequence has a memory of its own."""

    def size(self, id: int) -> int:
        """Bytes that `save` would take."""
        size: int = state_size(self._context, id)
        return size

    def save(self, id: int) -> State | None:
        """A copy of all of the sequence's cells; None if llama.cpp cannot."""
        state = np.empty(self.size(id), np.uint8)
        written: int = state_save(self._context, state.ctypes.data, len(state), id)
        return state if written == len(state) else None

    def load(self, id: int, state: State, count: int) -> bool:
        """The first `count` cells of what was saved; False, and none at all, if it fails."""
        if not state_load(self._context, state.ctypes.data, len(state), id):
            self.clear(id)
            return False
        return self.cut(id, count)

    def share(self, source: int, id: int, count: int) -> bool:
        """The first `count` cells of another's; False, and none at all, if it fails."""
        if not self.separate:
            memory_copy(self._memory, source, id, 0, count)
            return True
        state = self.save(source)
        return state is not None and self.load(id, state, count)

    def cut(self, id: int, count: int) -> bool:
        """Leave the first `count` cells; False where the model has a state that cannot be cut."""
        done: bool = memory_remove(self._memory, id, count, -1)
        return done

    def clear(self, id: int) -> None:
        memory_remove(self._memory, id, -1, -1)

    def count(self, id: int) -> int:
        """Cells up to the sequence's last."""
        return int(memory_last(self._memory, id)) + 1
