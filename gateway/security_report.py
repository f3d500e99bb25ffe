"""Print what is confined and what is open here: `python -m gateway.security_report`.

It asks the running server for its status. Without one it says what the configuration
and the kernel allow. Nothing is changed.
"""

import argparse
import http.client
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config.command_line import PREFIX
from gateway.config.loading import load_settings
from gateway.config.settings import Settings
from gateway.errors import BadSetting
from gateway.security.access import Tokens, is_local, load_tokens
from gateway.security.tls import client_context
from gateway.storage import untrusted_yaml
from protocol.binding_card import CARD, MAX_CARD_BYTES
from protocol.kernel_features import landlock_version, namespace_error
from protocol.logs import escaped

Rows = Iterator[tuple[str, str]]

ASK_SECONDS = 5.0
MAX_STATUS = 16 * 2**20
MAX_MEASURES, MAX_TEXT = 20, 500
"""Of one worker: a remote one says what it likes."""
MAX_NAMES = 5
ORDER = (
    "files", "network", "sockets", "shared_memory", "processes", "memory", "privileges",
    "capabilities", "core_dumps", "card",
)  # fmt: skip
"""The measures of a worker's Hello, and the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the kernel offers to a sandbox."""

    release: str
    landlock: int
    namespaces: str
    """Why there are none; "" if there are."""
    root: bool


def report(
    settings: Settings,
    tokens: Tokens,
    kernel: Kernel,
    status: Mapping[str, Any] | None,
    missing: str = "",
) -> list[str]:
    """The lines. `status` is the answer of GET /status, or None with the reason in `missing`."""
    lines = [f"security of the server in {settings.home}" + (f" ({missing})" if missing else "")]
    sections = [
        ("server", server(settings, tokens, status)),
        (f"system, kernel {kernel.release}", system(kernel)),
    ]
    for worker in (status or {}).get("workers", []):
        where = f"{worker.get('binding')}, pid {worker.get('pid')}, on {worker.get('host')}"
        sections.insert(-1, (f"worker {where}", measures(worker.get("sandbox") or {})))
    for name, rows in sections:
        lines.append(name)
        lines += [f"  {row.replace('_', ' '):<15} {text}" for row, text in rows]
    return [escaped(line) for line in lines]


def server(settings: Settings, tokens: Tokens, status: Mapping[str, Any] | None) -> Rows:
    near = is_local(settings.host)
    reach = "confined: this machine only" if near else "open: other machines reach it"
    yield "address", f"{reach} ({settings.host}:{settings.port})"
    if settings.ssl_certfile:
        yield "encryption", "confined: TLS"
    else:
        yield "encryption", "open: no TLS; --ssl_certfile enables it"
    who = "every user of this machine" if near else "everybody who reaches the server"
    yield "tokens", _needed(tokens) if tokens.guarded else f"open: {who} can connect"
    if settings.workers_tcp:
        yield "remote workers", f"open: with a key, at {settings.workers_tcp}"
    else:
        yield "remote workers", "confined: none can join"
    yield "sandbox", "confined: on" if settings.sandbox else "open: switched off (--sandbox no)"
    if status:
        yield "limits", limits(int(status.get("pid", 0)))
    asking = [text for text in map(card_row, *_cards(settings)) if text]
    yield "cards", "; ".join(asking) or "no binding asks for more than every worker has"


def _needed(tokens: Tokens) -> str:
    names = tokens.operators
    rest = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    chosen = ", ".join(names[:MAX_NAMES]) + rest or "nobody"
    return f"confined: required; {chosen} may change the server's defaults"


def _cards(settings: Settings) -> tuple[list[Path], list[str]]:
    try:
        folders = sorted(each.parent for each in settings.bindings_path.glob(f"*/{CARD}"))
    except OSError:
        folders = []
    return folders, [settings.allowed(folder.name) for folder in folders]


def card_row(folder: Path, allowed: str) -> str:
    """What the card in a binding's folder asks for, and the answer; "" if that is nothing."""
    try:
        card = untrusted_yaml.load(folder / CARD, MAX_CARD_BYTES)
    except (OSError, untrusted_yaml.Unreadable):
        return ""
    if not isinstance(card, dict):
        return ""
    folders = [name for name in ("reads", "writes") if card.get(name) and _lists(card[name])]
    asked = [*(["network"] if card.get("network") is True else []), *folders]
    answers = [
        f"{name} ({'allowed' if name in allowed.split(',') else 'not allowed'})" for name in asked
    ]
    return f"{folder.name} asks for {', '.join(answers)}" if answers else ""


def _lists(value: Any) -> bool:
    """As the worker reads it: one folder, or a list of them."""
    return isinstance(value, str | list)


def measures(sandbox: Mapping[str, str]) -> Rows:
    """One worker's. A measure of which its Hello says nothing was not taken."""
    absent = {"memory": "open: no memory_limit in config.yaml", "card": "asks for nothing more"}
    for name in list(dict.fromkeys((*ORDER, *sandbox)))[:MAX_MEASURES]:
        text = (sandbox.get(name) or absent.get(name, "open: nothing was done"))[:MAX_TEXT]
        # The memory limit is said as an amount.
        yield name, f"confined: {text}" if name == "memory" and text[:1].isdigit() else text


def system(kernel: Kernel) -> Rows:
    landlock = f"version {kernel.landlock}" if kernel.landlock else "open: there is none"
    yield "Landlock", f"{landlock} (files; TCP from 4, signals and abstract sockets from 6)"
    yield "namespaces", f"open: {kernel.namespaces}" if kernel.namespaces else "available"
    if kernel.root:
        yield "user", "open: root, whose processes have no bound and who reads all of /etc"


def limits(pid: int) -> str:
    """Resource limits of the gateway, if it is on this machine and ours to see."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return "unknown"
    found = {line[:25].strip(): line[25:].split() for line in lines}
    files, cores = found.get("Max open files", []), found.get("Max core file size", [])
    if len(files) < 2 or not cores:
        return "unknown"
    dumps = "no core dumps" if cores[0] == "0" else "core dumps"
    return f"{files[0]} open files (at most {files[1]}), {dumps}"


def ask(settings: Settings, tokens: Tokens) -> tuple[dict[str, Any] | None, str]:
    """The status of the running server; None and why there is no answer."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    try:
        tls = client_context(settings)
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(host, settings.port, timeout=ASK_SECONDS, context=tls)
            if tls
            else http.client.HTTPConnection(host, settings.port, timeout=ASK_SECONDS)
        )
        headers = {"Authorization": f"Bearer {tokens.own_token}"} if tokens.own_token else {}
        try:
            connection.request("GET", "/status", headers=headers)
            answer = connection.getresponse()
            body = answer.read(MAX_STATUS)
        finally:
            connection.close()
        if answer.status != 200:
            return None, f"the server refuses /status with HTTP {answer.status}"
        status = json.loads(body)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return None, f"no server answers at {host}:{settings.port}: {reason}"
    if not isinstance(status, dict) or not isinstance(status.get("workers"), list):
        return None, f"what answers at {host}:{settings.port} is no server of ours"
    return status, ""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.security_report",
        description="Print what is confined and what is open on this machine.",
    )
    parser.add_argument("--home", help=f"as for the gateway (default: {PREFIX}HOME, or var/)")
    options = parser.parse_args()
    try:
        settings = load_settings(["--home", options.home] if options.home else [], os.environ)
        tokens = load_tokens(settings)
    except BadSetting as error:
        print(f"security_report: {error}", file=sys.stderr)
        return 2
    kernel = Kernel(
        platform.release(),
        landlock_version(),
        namespace_error(),
        os.geteuid() == 0,
    )
    status, missing = ask(settings, tokens)
    print("\n".join(report(settings, tokens, kernel, status, missing)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
