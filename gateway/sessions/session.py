"""A session: the state of one client."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.inference.generation import Generation
from gateway.inference.listener import Listener, OnSent
from gateway.inference.outcomes import Outcome
from gateway.scheduling.notices import Notice, Notify
from gateway.scheduling.quotas import Quota, RateLimit
from gateway.security.tokens_file import TokenHolder
from gateway.sessions.discussion import Discussion
from gateway.sessions.retention import OVERHEAD, Kept, Kind
from gateway.storage.discussions import SavedSelection

MAX_DISCUSSIONS = 16
"""Of one session; the one that was used longest ago goes first."""


class Connection(Listener, Protocol):
    """A client's connection, through which everything is sent to it, in order."""

    def event(self, name: str, data: dict[str, Any]) -> None:
        """Send an event of this frontend."""

    def close(self) -> None:
        """The connection has ended."""


class NoConnection:
    """The connection of an absent session. Its last one would keep the socket and the request."""

    wants_notices = False

    def chunk(self, stream: str, text: str, tokens: int, taken: OnSent) -> None: ...

    def ended(self, stream: str, outcome: Outcome) -> None: ...

    def check(self, answered: Callable[[], None]) -> bool:
        return False

    def notice(self, stream: str, notice: Notice) -> None: ...

    def event(self, name: str, data: dict[str, Any]) -> None: ...

    def drop(self, why: str) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class Session:
    """From connect to disconnect, and some time longer: see `gateway.sessions.resumption`.
    Its selection goes with it, the saved default stays."""

    sid: str
    connection: Connection
    quota: Quota
    """The quota of its token."""
    rate_limit: RateLimit
    address: str = ""
    """Of its client, as far as it is known."""
    binding: str | None = None
    """Its own selection; None is the server's default."""
    model: str | None = None
    active: int | None = None
    """Index of its active personality among the mounted ones; None is the server's default."""
    running: Generation | None = None
    discussions: dict[str, Discussion] = field(default_factory=dict)
    """By the personality's path; the raw mode has none."""
    handlers: set[asyncio.Task[Any]] = field(default_factory=set)
    """Tasks of its unanswered requests."""
    selection_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held during a selection, so that later requests of the client use it."""

    token: str = ""
    """A client that has it may resume this session."""
    resumable: bool = False
    """Its client sends session tokens, and may come back."""
    resumed: bool = False
    """Its client has come back."""
    lost_generation: str = ""
    """Id of a generation that was lost when the gateway restarted."""
    saved_selection: SavedSelection = field(default_factory=SavedSelection)
    """Its selection as saved last."""
    last_generation: Generation | None = None
    """Kept for a resumable client, which may have missed the end."""

    def discussion(self, personality: str) -> Discussion:
        found = self.discussions.pop(personality, None) or Discussion()
        self.discussions[personality] = found
        while len(self.discussions) > MAX_DISCUSSIONS:
            del self.discussions[next(iter(self.discussions))]
        return found

    @property
    def notify(self) -> Notify | None:
        """The receiver of notices for its requests that are no generations; None if it did not ask
        for them."""
        if not self.connection.wants_notices:
            return None
        return lambda notice: self.connection.notice("", notice)

    @property
    def owner(self) -> str:
        return owner(self.quota.holder, self.address)

    def kept(self, *, away: bool) -> Kept:
        """What is kept for it."""
        last, running = self.last_generation, self.running
        size = sum(each.bytes for each in self.discussions.values()) + (last.bytes if last else 0)
        if not away:
            return Kept(self.owner, Kind.CONNECTED, size)
        if running and not running.state.outcome:
            return Kept(self.owner, Kind.RUNNING, OVERHEAD + size + running.bytes)
        chosen = self.resumable and (self.binding, self.model, self.active) != (None, None, None)
        kind = Kind.ENDED if size or chosen else Kind.NOTHING
        return Kept(self.owner, kind, OVERHEAD + size)

    def shorten(self) -> None:
        """Forget the last answer, which its client was sent, or the discussion used longest ago."""
        if self.last_generation:
            self.last_generation = None
        elif self.discussions:
            del self.discussions[next(iter(self.discussions))]

    def unfinished(self, id: str) -> Generation | None:
        """The running generation; or the last one, if its id is `id`: the client has not seen its
        end."""
        if self.running:
            return self.running
        last = self.last_generation
        return last if last and last.state.id == id else None


def owner(holder: TokenHolder, address: str) -> str:
    """Whose share a session counts to: the token's holder, or the address where none is needed.
    Names of holders have no spaces."""
    return holder.name or f"address {address}"
