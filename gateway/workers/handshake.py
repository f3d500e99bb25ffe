"""The handshake: check whether a worker that says Hello may join."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from protocol import PROTOCOL_VERSION
from protocol.messages import Hello


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a connection, as the socket knows it, whatever its Hello says."""

    remote: bool = False
    """It connected over TCP; its pid means nothing here."""
    key: str = ""
    """The CURVE key that a remote one has proven to hold."""
    pid: int = 0
    """The process on this machine that connected; 0 where the system does not say."""
    same_user: bool = True
    hidden: bool = False
    """The system tells which process connected, but not of this connection."""


class Secrets(Protocol):
    """A secret for each binding, which only the workers of that binding can read."""

    def get(self, binding: str) -> str: ...

    def create(self, binding: str) -> bool:
        """Create the secret of a binding. Return whether it had none."""


class Handshake:
    def __init__(
        self,
        secrets: Secrets,
        has_binding: Callable[[str], bool],
        entry_of: Callable[[str, str], str] = lambda key, secret: "",
    ) -> None:
        """`entry_of` returns the entry of the list of remote workers that has this key and this
        secret, or ""."""
        self._secrets = secrets
        self._has_binding = has_binding
        self._entry_of = entry_of

    def too_early(self, hello: Hello, peer: Peer) -> bool:
        """Whether the gateway met its binding just now: its secret is there for the next Hello."""
        return (
            not peer.remote
            and self._has_binding(hello.binding)
            and self._secrets.create(hello.binding)
        )

    def entry(self, hello: Hello, peer: Peer) -> str:
        """The entry of a remote worker in the list; "" for a worker on this machine."""
        return self._entry_of(peer.key, hello.secret) if peer.remote else ""

    def objection(self, identity: bytes, hello: Hello, peer: Peer) -> str:
        """Why it may not join, in one sentence; "" when it may."""
        if hello.protocol != PROTOCOL_VERSION:
            return f"the gateway speaks protocol {PROTOCOL_VERSION}, the worker {hello.protocol}"
        if not self._has_binding(hello.binding):
            return f"there is no binding named {hello.binding!r}"
        if peer.remote and not self.entry(hello, peer):
            return "the secret does not belong to its key"
        if not peer.remote and not self._has_secret(hello):
            return "the secret is not this gateway's for its binding"
        if peer.hidden:
            return "its connection does not tell which process it is of"
        if not peer.same_user:
            return "its process belongs to another user"
        if peer.pid and hello.pid != peer.pid:
            return f"it says that it is process {hello.pid}, but process {peer.pid} connected"
        if not identity.startswith(f"{hello.binding}.{hello.pid}.".encode()) or hello.pid <= 1:
            return "the identity does not fit the Hello"
        if hello.slots < 1:
            return "a worker without slots is of no use"
        return ""

    def _has_secret(self, hello: Hello) -> bool:
        secret = self._secrets.get(hello.binding)
        return bool(secret) and hmac.compare_digest(hello.secret.encode(), secret.encode())
