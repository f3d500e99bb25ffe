"""Which web pages may talk to this server?"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

LOCAL = {"localhost", "127.0.0.1", "::1"}


class Origins:
    """Native clients send no Origin and always may. A page may when it comes from this very
    host, from localhost at any port, or is listed; `*` lists them all."""

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
