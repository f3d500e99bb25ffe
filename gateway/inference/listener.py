"""The client of a generation, as the generation sees it."""

from collections.abc import Callable
from typing import Protocol

from gateway.inference.outcomes import Outcome

OnSent = Callable[[int], None]
"""Told how many tokens have left for the client."""


class Listener(Protocol):
    """Called from the event loop, in order. Nothing here waits."""

    def chunk(self, stream: str, text: str, tokens: int, taken: OnSent) -> None:
        """One piece of the answer `stream`; `taken` is called with `tokens` once it has left:
        the worker may send so many more."""

    def ended(self, stream: str, outcome: Outcome) -> None:
        """Once, after the last chunk; again for a client that came back and may have missed it."""
