"""What a client may be told while its request waits or is paused."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queued:
    """The generation waits for a slot. Sent at each change, at most once a second."""

    position: int
    """1 is the next one."""
    waiting: int
    """Generations that wait for the same model."""
    why: str
    """A clause, such as "all slots are in use"."""
    eta: float | None = None
    """Seconds until its turn, estimated; None if nothing is known."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model that the request needs."""

    binding: str
    model: str
    state: str
    """`starting` (its worker), `loading`, `waiting` (for memory), `loaded` or `failed`."""
    progress: float | None = None
    """Part of the load that is done, 0 to 1; None if the binding does not tell."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """The prompt is being computed. At most four a second."""

    done: int
    """Tokens, with reused ones."""
    total: int
    reused: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The generation gave its slot away; it continues later, with the same text."""

    why: str
    """A clause, such as "others have their turn"."""


@dataclass(frozen=True, slots=True)
class Continued:
    """It has a slot again."""

    why: str
    """A clause, such as "it has a slot again"."""


Notice = Queued | ModelStatus | PromptProgress | Paused | Continued
Notify = Callable[[Notice], None]
