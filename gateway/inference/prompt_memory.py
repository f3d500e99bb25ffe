"""The memory of prompts: how much of it the unfinished generations of one owner may hold.

Generations that are parked count against no limit of the queue, and there may be as many as
there are connections.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import Busy

MAX_BYTES = 256 * 2**20
"""Of one owner."""


class PromptMemory:
    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def holding(self, owner: str, size: int) -> Iterator[None]:
        """Until the block ends. Raise Busy if its owner holds too much already."""
        if self._bytes[owner] + size > MAX_BYTES:
            raise Busy
        self._bytes[owner] += size
        try:
            yield
        finally:
            self._bytes[owner] -= size
            if not self._bytes[owner]:
                del self._bytes[owner]
