"""The handshake: which workers that say Hello may join."""

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
        """`secret` is this gateway's; whoever can read the run folder has it. A remote worker
        has one of its own, which `has_remote_secret` knows."""
        self._secret = secret
        self._has_binding = has_binding
        self._has_remote_secret = has_remote_secret

    def is_remote(self, hello: Hello) -> bool:
        """Its pid means nothing here, whatever it calls its machine."""
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
