"""XML-RPC calls to supervisor, over its Unix socket and with a time limit."""

import base64
import http.client
import socket
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from xml.parsers.expat import ExpatError

from protocol.run_folder import supervisor_key

Result = TypeVar("Result")
Fault = xmlrpc.client.Fault
"""supervisor refused; `faultString` says why."""

USER = "lollms"
TIMEOUT_SECONDS = 2.0
"""For each answer; it takes milliseconds, unless supervisor is stopped or stuck."""


class Unreachable(Exception):
    """No supervisor runs for this home, or it does not answer. A later call may succeed."""


def call_supervisor(path: Path, work: Callable[[Any], Result]) -> Result:
    """Return `work(server)`, which calls functions such as `server.supervisor.getState()`.

    The password is read from the run folder. It blocks: call it in a thread. Each call has its
    own connection, because the transport is not thread-safe. Raise Unreachable or Fault.
    """
    transport = _Transport(path, _key(path))
    try:
        return work(xmlrpc.client.ServerProxy("http://supervisor", transport=transport))
    except Fault:
        raise
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
        raise Unreachable(str(error)) from None
    finally:
        transport.close()


def _key(path: Path) -> str:
    try:
        return supervisor_key(path.parent).read_text()
    except OSError:
        return ""  # it runs without a password


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path, key: str) -> None:
        basic = base64.b64encode(f"{USER}:{key}".encode()).decode()
        super().__init__(headers=[("Authorization", f"Basic {basic}")])
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = self._connection[1] or _Connection(self._path)
        self._connection = host, connection
        return connection


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(str(self._path))
