"""What a simulation of sharing plays: models, memory, times, and what goes wrong."""

from dataclasses import dataclass, field

from gateway.scheduling.policy import Policy
from gateway.workers.worker import Key


@dataclass(frozen=True, kw_only=True)
class World:
    """What the simulation plays. Times in seconds; chances from 0 to 1."""

    policy: Policy = field(default_factory=Policy)
    models: dict[Key, float]
    """And how much memory each takes."""
    memory: float = 1e9
    slots: int = 2
    cores: int = 8
    load: float = 1.0
    """So long a load takes at most; half of it at least."""
    start: float = 0.5
    stop: float = 0.5
    token: float = 0.2
    prompt: float = 0.3
    unary: float = 0.1
    latency: float = 0.05
    frail: frozenset[str] = frozenset()
    """Bindings that cannot resume."""
    guests: tuple[str, ...] = ()
    """Bindings of workers on other machines."""
    deaths: float = 0.0
    """Mean time between two; 0 is none."""
    broken_loads: float = 0.0
    broken_starts: float = 0.0
    refused_stops: float = 0.0
    idle_stops: float = 0.0
    """Mean time between two stops of an idle worker; 0 is none."""

    @property
    def memory_is_short(self) -> bool:
        return sum(self.models.values()) > self.memory
