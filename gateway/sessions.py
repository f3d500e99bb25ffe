"""What do we know about one client?"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from gateway.allowance import Allowance
from gateway.generation import Generation
from gateway.outlet import Outlet
from gateway.pace import Pace
from gateway.prompts import Discussion


@dataclass(slots=True, eq=False)
class Session:
    """From connect to disconnect; what it selected goes with it, the saved default stays."""

    sid: str
    outlet: Outlet
    allowance: Allowance
    """Of the token that it came with."""
    pace: Pace
    binding: str | None = None
    """Its own selection; None is the server's default."""
    model: str | None = None
    active: int | None = None
    """Index of its active personality among the mounted ones; None is the server's default."""
    running: Generation | None = None
    discussions: dict[str, Discussion] = field(default_factory=dict)
    """By the personality's path; the raw mode has none."""
    handlers: set[asyncio.Task[Any]] = field(default_factory=set)
    """What runs for its requests at the moment: a model that loads for it, say."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a selection is made: a request that comes after it is served by it."""

    def discussion(self, personality: str) -> Discussion:
        return self.discussions.setdefault(personality, Discussion())
