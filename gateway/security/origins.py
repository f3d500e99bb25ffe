"""Allow-lists of origins and Host names, against foreign pages and DNS rebinding."""

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

LOCAL = {"localhost", "127.0.0.1", "::1"}


class Origins:
    """Which origins may connect. Native clients send none and always may. A page may if it is
    from this host, from localhost at any port, or listed; `*` lists all."""

    def __init__(self, listed: tuple[str, ...]) -> None:
        self._listed = {origin.rstrip("/").lower() for origin in listed}

    def __call__(self, origin: str | None, environ: Mapping[str, Any]) -> bool:
        if not origin or "*" in self._listed or origin.rstrip("/").lower() in self._listed:
            return True
        try:
            page = urlsplit(origin)
            host = page.hostname
        except ValueError:
            return False
        if page.scheme not in ("http", "https"):
            return False
        return host in LOCAL or page.netloc.lower() == str(environ.get("HTTP_HOST", "")).lower()


class Hosts:
    """Which Host headers are accepted: known names, and all addresses. Against DNS rebinding: a
    foreign name that resolves to this machine would be the "same host" for a browser."""

    def __init__(self, listening: str, origins: tuple[str, ...]) -> None:
        """`listening` is the setting `host`. The hosts of listed origins are accepted, too: one
        may be this server behind a proxy."""
        self._all = "*" in origins
        self._names = {*LOCAL, listening.lower(), socket.gethostname().lower()}
        self._names |= {urlsplit(origin).hostname or "" for origin in origins}

    def __call__(self, host: str | None) -> bool:
        if not host or self._all:  # every browser sends it
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
