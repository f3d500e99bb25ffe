"""The handshake: check whether a worker that says Hello may join."""

import hmac
from collections.abc import Callable

from protocol import PROTOCOL_VERSION
from protocol.messages import Hello


class Handshake:
    def __init__(
        self,
        secret: str,
        has_binding: Callable[[str], bool],
        has_remote_secret: Callable[[str], bool] = lambda secret: False,
    ) -> None:
        """`secret` is this gateway's; workers read it from the run folder. A remote worker has a
        secret of its own, which `has_remote_secret` checks."""
        self._secret = secret
        self._has_binding = has_binding
        self._has_remote_secret = has_remote_secret

    def is_remote(self, hello: Hello) -> bool:
        """Whether it runs on another machine: its pid means nothing here, whatever `host` says."""
        return not self._has_our_secret(hello)

    def _has_our_secret(self, hello: Hello) -> bool:
        return hmac.compare_digest(hello.secret.encode(), self._secret.encode())

    def objection(self, identity: bytes, hello: Hello) -> str:
        """Why it may not join, in one sentence; "" when it may."""
        if hello.protocol != PROTOCOL_VERSION:
            return f"the gateway speaks protocol {PROTOCOL_VERSION}, the worker {hello.protocol}"
        if not self._has_our_secret(hello) and not self._has_remote_secret(hello.secret):
            return "the secret is not this gateway's"
        if not self._has_binding(hello.binding):
            return f"there is no binding named {hello.binding!r}"
        if not identity.startswith(f"{hello.binding}.{hello.pid}.".encode()) or hello.pid <= 1:
            return "the identity does not fit the Hello"
        if hello.slots < 1:
            return "a worker without slots is of no use"
        return ""
