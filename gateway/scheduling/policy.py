"""The policy of sharing: limits of the queue, slices, and how many workers a model may have."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Times in seconds."""

    max_queue: int = 16
    """Waiting generations of one owner for one model."""
    max_waiting: int = 1000
    """Waiting generations of all owners for all models."""
    park_after: float = 1.0
    """A generation whose client takes nothing for so long gives its slot to others; 0 is never."""
    slice: float = 10.0
    """A generation runs for so long before it takes turns with others; 0 is without end."""
    max_models: int = 3
    """Models that are loaded at the same time for bindings whose processes are automatic."""
    rejoin_limit: float = 15.0
    """An answer whose last worker died waits for so long for one that is coming."""
    processes: Callable[[str], int] = lambda binding: 1
    """How many workers a binding may have; 0 is automatic."""
    replicas: Callable[[str, str], int] = lambda binding, model: 0
    """How many workers may hold a model; 0 is automatic."""
