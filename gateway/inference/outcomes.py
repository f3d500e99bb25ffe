"""How a generation ended, in words of no frontend."""

from dataclasses import dataclass
from typing import ClassVar

from protocol import messages


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete."""

    label: ClassVar[str] = "finished"
    text: str
    answer: messages.Finished
    """The worker's: why it stopped, and how many tokens of which kind."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer is not complete. `error` is one sentence for the client."""

    label: ClassVar[str] = "failed"
    error: str
    code: str = ""
    """What kind of failure, where a program can make use of it."""
    tokens: int | None = None
    """How many had come, when it failed in a worker."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client cancelled it after this text."""

    label: ClassVar[str] = "cancelled"
    text: str


@dataclass(frozen=True, slots=True)
class Busy:
    """It never started: too many run or wait."""

    label: ClassVar[str] = "busy"


@dataclass(frozen=True, slots=True)
class Gone:
    """The client is gone: nobody is left to be told."""

    label: ClassVar[str] = "gone"


Outcome = Finished | Failed | Cancelled | Busy | Gone
"""`label` is its name in metrics and logs."""
