"""What `make run` prints: progress, warnings of the gateway, and the welcome."""

import http.client
import json
import shlex
import sys
import time
from typing import Any

from gateway.config.command_line import PREFIX
from gateway.config.settings import Settings, built_in
from gateway.security.tls import client_context
from protocol.logs import escaped, level_and_text

STEADY_SECONDS = 1.0
"""A state that may be temporary counts as final after this time."""
WARNINGS = ("WARNING", "ERROR", "CRITICAL")


class Console:
    def __init__(self, settings: Settings, port: int, token: str) -> None:
        """`token` is for `/ready`; "" where none is needed."""
        self._tls = client_context(settings)
        self._certificate = settings.ssl_certfile
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
        self._port = port
        self._home = settings.home
        self._logs = settings.home / "logs"
        self._log = self._logs / "gateway.log"
        self._begin = self._log.stat().st_size if self._log.exists() else 0
        self._printed = 0
        self.answered = False
        """The gateway has answered once: if it dies now, supervisor restarts it."""
        self._reason = ""
        self._since = 0.0

    def starting(self) -> None:
        _print(f"starting in {self._home} …")

    def is_up(self) -> bool:
        """Whether the server is up; until then, print what it waits for.

        A server without a model is up, and so is one whose model cannot be loaded: clients
        may select another.
        """
        state = self._ready()
        self._print_warnings()
        if not state:
            return False
        self.answered = True
        reason = str(state.get("reason", ""))
        if reason != self._reason:
            self._reason, self._since = reason, time.monotonic()
            if reason and state.get("model"):
                _print(f"waiting: {reason}")
        final = not state.get("model") or (self._printed > 0 and not reason.startswith("loading"))
        return not reason or (final and time.monotonic() - self._since > STEADY_SECONDS)

    def welcome(self) -> None:
        state = self._ready()
        model = f"{state['model']} ({state['binding']})" if state.get("model") else "none yet"
        if state.get("reason") and state.get("model"):
            model += f" cannot serve yet: {state['reason']}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        scheme = "https" if self._tls else "http"
        needed = {
            "PORT": str(self._port) if self._port != built_in("port") else "",
            "SSL_CERTFILE": shlex.quote(str(self._certificate)) if self._tls else "",
            "API_KEY": "…" if self._headers else "",
        }
        chat = "".join(f"{PREFIX}{name}={value} " for name, value in needed.items() if value)
        chat += "make chat"
        _print(
            f"\n  the server is up at {scheme}://{host}:{self._port}\n"
            f"  default model:  {model}\n"
            f"  logs:           {self._logs}\n"
            f"  next step:      {chat}   (in another terminal)\n"
            "  Ctrl-C stops everything\n"
        )

    def failed(self, why: str) -> None:
        print(f"cannot go on: {why}", file=sys.stderr, flush=True)

    def last_line(self) -> str:
        """The last line of the gateway's log: why it could not start."""
        lines = self._new_log().splitlines()
        if not lines:
            return f"see {self._log}"
        ours = level_and_text(lines[-1])
        return ours[1] if ours else escaped(lines[-1].removeprefix("gateway: "))

    def ended_orphans(self, count: int) -> None:
        _print(f"ended {count} process(es) that a dead worker left")

    def stopping(self) -> None:
        _print("stopping …")

    def stopped(self) -> None:
        _print("stopped")

    def _new_log(self) -> str:
        """What the gateway has logged since the start."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._begin)
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def _print_warnings(self) -> None:
        lines = map(level_and_text, self._new_log().splitlines())
        warnings = [text for level, text in filter(None, lines) if level in WARNINGS]
        for text in warnings[self._printed :]:
            _print(f"warning: {text}")
        self._printed = len(warnings)

    def _ready(self) -> dict[str, Any]:
        """The answer of GET /ready, whatever its status; {} while nobody answers."""
        place = self._host, self._port
        connection = (
            http.client.HTTPSConnection(*place, timeout=2, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(*place, timeout=2)
        )
        try:
            connection.request("GET", "/ready", headers=self._headers)
            return dict(json.load(connection.getresponse()))
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        finally:
            connection.close()


def _print(text: str) -> None:
    print(text, flush=True)
