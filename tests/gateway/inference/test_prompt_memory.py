"""Each owner's unfinished generations hold so much memory, and no more."""

from contextlib import ExitStack

import pytest

from gateway.errors import Busy
from gateway.inference.prompt_memory import MAX_BYTES, PromptMemory


def test_who_holds_too_much_is_busy_and_others_are_not() -> None:
    memory = PromptMemory()
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(memory.holding("a", MAX_BYTES // 4))
        with pytest.raises(Busy), memory.holding("a", 1):
            pass
        with memory.holding("b", 1):
            pass
    with memory.holding("a", MAX_BYTES):
        pass
