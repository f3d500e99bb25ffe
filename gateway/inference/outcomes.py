"""How a generation ended, independent of any frontend."""

from dataclasses import dataclass
from typing import ClassVar

from protocol import messages


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete."""

    label: ClassVar[str] = "finished"
    text: str
    answer: messages.Finished
    """The worker's message: why it stopped, and the token counts."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer is not complete. `error` is one sentence for the client."""

    label: ClassVar[str] = "failed"
    error: str
    code: str = ""
    """The kind of failure, for programs; "" for none."""
    tokens: int | None = None
    """How many tokens had arrived, if a worker failed it; otherwise None."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client cancelled it after this text."""

    label: ClassVar[str] = "cancelled"
    text: str


@dataclass(frozen=True, slots=True)
class Busy:
    """It was never started: too many generations run or wait."""

    label: ClassVar[str] = "busy"


@dataclass(frozen=True, slots=True)
class Gone:
    """The client is gone; there is nobody to answer."""

    label: ClassVar[str] = "gone"


Outcome = Finished | Failed | Cancelled | Busy | Gone
"""`label` is its name in metrics and logs."""
