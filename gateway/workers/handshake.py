"""May this worker join? (pure)"""

import hmac
from collections.abc import Callable

from protocol import PROTOCOL_VERSION
from protocol.messages import Hello


class Greeter:
    def __init__(
        self,
        secret: str,
        knows_binding: Callable[[str], bool],
        knows_guest: Callable[[str], bool] = lambda secret: False,
    ) -> None:
        """`secret` is this gateway's; whoever can read the run folder knows it. A worker on
        another machine has one of its own, which `knows_guest` knows."""
        self._secret = secret
        self._knows_binding = knows_binding
        self._knows_guest = knows_guest

    def is_guest(self, hello: Hello) -> bool:
        """Its pid means nothing here, whatever it calls its machine."""
        return not self._is_ours(hello)

    def _is_ours(self, hello: Hello) -> bool:
        return hmac.compare_digest(hello.secret.encode(), self._secret.encode())

    def objection(self, identity: bytes, hello: Hello) -> str:
        """Why it may not, in one sentence; "" when it may."""
        if hello.protocol != PROTOCOL_VERSION:
            return f"the gateway speaks protocol {PROTOCOL_VERSION}, the worker {hello.protocol}"
        if not self._is_ours(hello) and not self._knows_guest(hello.secret):
            return "the secret is not this gateway's"
        if not self._knows_binding(hello.binding):
            return f"there is no binding named {hello.binding!r}"
        if not identity.startswith(f"{hello.binding}.{hello.pid}.".encode()) or hello.pid <= 1:
            return "the identity does not fit the Hello"
        if hello.slots < 1:
            return "a worker without slots is of no use"
        return ""
