"""The discussion of a session with one personality: its exchanges, within limits."""

import sys
from collections import deque

from gateway.personalities.personality import Personality
from gateway.personalities.prompts import user_turn

MAX_EXCHANGES = 256
MAX_CHARACTERS = 200_000
"""More than fits into any context here, and little enough for a thousand clients."""


class Discussion:
    """When it is full, the oldest exchange goes first."""

    def __init__(self) -> None:
        self._exchanges: deque[tuple[str, str]] = deque()
        self._characters = 0
        self.bytes = 0
        """Memory of its texts."""

    def add(self, prompt: str, answer: str) -> None:
        self._exchanges.append((prompt, answer))
        self._characters += len(prompt) + len(answer)
        self.bytes += _size((prompt, answer))
        while self._characters > MAX_CHARACTERS or len(self._exchanges) > MAX_EXCHANGES:
            oldest = self._exchanges.popleft()
            self._characters -= sum(map(len, oldest))
            self.bytes -= _size(oldest)

    def blocks(self, personality: Personality) -> list[str]:
        """One text per exchange, oldest first; a worker drops the oldest when the prompt is too
        long."""
        return [user_turn(personality, q) + answer.strip() for q, answer in self._exchanges]

    def turns(self) -> list[str]:
        """Prompts and answers in turn, without the prefixes of the personality."""
        return [text for q, answer in self._exchanges for text in (q, answer.strip())]


def _size(exchange: tuple[str, str]) -> int:
    return sys.getsizeof(exchange) + sum(map(sys.getsizeof, exchange))
