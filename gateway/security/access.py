"""Who may use this server? Whoever reaches it, or only those who have a token."""

import hashlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config.command_line import PREFIX
from gateway.config.settings import Settings
from gateway.config.values import Unfit, UnfitSecret, token, whole
from gateway.errors import BadSetting
from gateway.storage.folder_cache import signature, unchanged
from gateway.storage.untrusted_files import Exposed, check_private, is_plain, read_regular
from protocol.logs import RateLimitedLog

log = logging.getLogger(__name__)

SHORT = 16
"""Characters. A shorter token can be guessed, which is said in the log, once, and not forbidden."""
MAX_NAME = 64
MAX_LIMIT = 100_000
MAX_BYTES = 1_000_000
HOW = "`python -m gateway.keys token NAME` writes one"


@dataclass(frozen=True, slots=True)
class Holder:
    """One who has a token, or everybody where none is needed."""

    name: str
    running: int
    """Generations that may run at the same time; 0 is no limit."""
    waiting: int
    """And how many more may wait for these."""


class Access:
    """Knows the tokens. What is kept are digests, and one token for our own health checks."""

    def __init__(self, tokens: Iterable[tuple[str, Holder]], everybody: Holder) -> None:
        self._everybody = everybody
        self._known: list[tuple[bytes, Holder]] = []
        self.own = ""
        """A token that opens this server; "" where none is needed."""
        self.short: list[str] = []
        """The names of those whose token is shorter than it should be."""
        for value, holder in tokens:
            self._known.append((_digest(value), holder))
            self.own = self.own or value
            if len(value) < SHORT:
                self.short.append(holder.name)

    @property
    def guarded(self) -> bool:
        return bool(self._known)

    def holder(self, value: str) -> Holder | None:
        """Whose token this is; takes as long for one that is nearly right as for any other."""
        if not self.guarded:
            return self._everybody
        digest, found = _digest(value), None
        for known, holder in self._known:
            if hmac.compare_digest(known, digest):
                found = holder
        return found


class Current:
    """The access of this very moment: the tokens' file is read again when it has changed, and
    what cannot be used changes nothing."""

    def __init__(self, settings: Settings) -> None:
        """Raise BadSetting."""
        self._settings = settings
        self._limited_log = RateLimitedLog(log)
        self._signed = signature(settings.tokens_file)
        self._access = open_access(settings)

    def now(self) -> Access:
        signed = signature(self._settings.tokens_file)
        if not unchanged(self._signed, signed):
            self._signed = signed
            try:
                self._access = open_access(self._settings)
            except BadSetting as error:
                self._limited_log.warning("the tokens stay as they were: %s", error)
        return self._access

    def holder(self, value: str) -> Holder | None:
        return self.now().holder(value)


def open_access(settings: Settings) -> Access:
    """Read the tokens. Raise BadSetting for what cannot be used, and for a server that others
    could reach without one."""
    running, waiting = settings.token_running, settings.token_queue
    tokens = read_tokens(settings)
    if not tokens and settings.tokens_file.exists():  # then somebody thinks that it is guarded
        raise BadSetting(f"{settings.tokens_file} has no token in it: {HOW}, or remove the file")
    if settings.api_key:
        tokens.append((settings.api_key, Holder("api_key", running, waiting)))
    for each in ([value for value, _ in tokens], [holder.name for _, holder in tokens]):
        if len(set(each)) < len(each):
            raise BadSetting(f"{settings.tokens_file}: a name or a token is there twice")
    access = Access(tokens, Holder("", running, waiting))
    if not (access.guarded or settings.insecure or of_this_machine(settings.host)):
        raise BadSetting(
            f"{settings.host} can be reached from other machines, and no token is needed here: "
            f"{HOW}, set {PREFIX}API_KEY, or say --insecure if everybody "
            "may use this server"
        )
    return access


def bearer(headers: Mapping[str, Any], name: str = "Authorization") -> str:
    """The token in `Authorization: Bearer`; "" when there is none."""
    scheme, _, value = str(headers.get(name, "")).partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode(errors="surrogatepass")).digest()


def read_tokens(settings: Settings) -> list[tuple[str, Holder]]:
    """Token and holder of each line of the tokens file. Raise BadSetting."""
    path = settings.tokens_file
    try:
        check_private(path)
        lines = read_regular(path, MAX_BYTES).decode().splitlines()
    except FileNotFoundError:
        if "tokens_file" in settings.given:
            raise BadSetting(f"the tokens file {path} does not exist") from None
        return []
    except Exposed as error:
        raise BadSetting(str(error)) from None
    except (OSError, ValueError) as error:
        reason = "not text" if isinstance(error, ValueError) else error.strerror or error
        raise BadSetting(f"the tokens file {path} cannot be read: {reason}") from None
    read = []
    for number, line in enumerate(lines, 1):
        if words := line.partition("#")[0].split():
            try:
                read.append(_entry(words, settings))
            except (Unfit, UnfitSecret) as error:
                raise BadSetting(f"{path}, line {number}: {error}") from None
    return read


def _entry(words: list[str], settings: Settings) -> tuple[str, Holder]:
    limits = {"running": settings.token_running, "waiting": settings.token_queue}
    if len(words) < 2:
        raise Unfit(f"a name and a token are expected; {HOW}")
    name, value, *rest = words
    if not is_plain(name) or not name.isprintable() or len(name) > MAX_NAME:
        raise Unfit(f"the name must be one word of up to {MAX_NAME} characters")
    for each in rest:
        key, _, number = each.partition("=")
        if key not in limits:
            raise Unfit("after the token only running=N and waiting=N are expected")
        limits[key] = whole(0, MAX_LIMIT)(number, settings.tokens_file)
    return token(value, settings.tokens_file), Holder(name, **limits)


def of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # then nobody can reach it, and binding it says why
    return all(ipaddress.ip_address(each[4][0]).is_loopback for each in found)
