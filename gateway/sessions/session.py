"""What do we know about one client?"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from gateway.inference.generation import Generation
from gateway.personalities.prompts import Discussion
from gateway.scheduling.quotas import Allowance
from gateway.scheduling.rate_limit import Pace
from gateway.socketio.send_queue import Outlet
from gateway.storage.discussions import Selected

MAX_DISCUSSIONS = 16
"""Of one session; the one that was used longest ago goes first."""


@dataclass(slots=True, eq=False)
class Session:
    """From connect to disconnect, and some time longer: see `gateway.sessions.resumption`. What it
    selected goes with it, the saved default stays."""

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

    token: str = ""
    """Who has it is this session's client."""
    returns: bool = False
    """Its client knows of tokens, and may come back."""
    resumed: bool = False
    """It has."""
    lost: str = ""
    """Id of the generation that an earlier gateway took with it."""
    noted: Selected = field(default_factory=Selected)
    """As it was written down."""
    last: Generation | None = None
    """Of a client that may come back: it may not have heard of the end."""

    def discussion(self, personality: str) -> Discussion:
        found = self.discussions.pop(personality, None) or Discussion()
        self.discussions[personality] = found
        while len(self.discussions) > MAX_DISCUSSIONS:
            del self.discussions[next(iter(self.discussions))]
        return found

    def unheard(self, id: str) -> Generation | None:
        """The last generation, for a client that says that it has not seen its end."""
        return self.last if self.last and self.last.stream.id == id else None
