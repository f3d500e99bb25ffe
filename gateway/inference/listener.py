"""The client of a generation, as the generation sees it."""

from collections.abc import Callable
from typing import Protocol

from gateway.inference.outcomes import Outcome
from gateway.scheduling.notices import Notice

OnSent = Callable[[int], None]
"""Called with the number of tokens whose text was sent to the client."""


class Listener(Protocol):
    """Called from the event loop, in order. Nothing here waits."""

    @property
    def wants_notices(self) -> bool:
        """The client asked for notices: `notice` does something."""

    def chunk(self, stream: str, text: str, tokens: int, taken: OnSent) -> None:
        """A piece of the generation `stream`. Once it is sent, call `taken(tokens)`, which gives
        the worker credit for so many tokens."""

    def ended(self, stream: str, outcome: Outcome) -> None:
        """The end, after the last chunk. It comes again after a resume: the client may have missed
        it."""

    def check(self, answered: Callable[[], None]) -> bool:
        """Ask the client for a sign that it has read all that was sent before; then call
        `answered`. Return False if it cannot be asked. One question at a time."""

    def drop(self, why: str) -> None:
        """End the connection; `why` is for the log."""

    def notice(self, stream: str, notice: Notice) -> None:
        """While the generation waits or is paused. Clients that did not ask for it get nothing."""
