"""Access control: find the holder of a request's token, where tokens are needed."""

import hashlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.config.command_line import PREFIX
from gateway.config.settings import Settings
from gateway.errors import BadSetting
from gateway.security.tokens_file import HOW_TO_MAKE_ONE, TokenHolder, read_tokens
from gateway.storage.folder_cache import signature, unchanged
from protocol.logs import RateLimitedLog

log = logging.getLogger(__name__)

MIN_TOKEN_LENGTH = 16
"""Characters. A shorter token can be guessed: it is accepted, with a warning at the start."""


class Tokens:
    """Digests of the tokens, and one token in plain text for the launcher's requests."""

    def __init__(self, tokens: Iterable[tuple[str, TokenHolder]], everybody: TokenHolder) -> None:
        self._everybody = everybody
        self._known: list[tuple[bytes, TokenHolder]] = []
        self.own_token = ""
        """A valid token; "" where none is needed."""
        self.short: list[str] = []
        """Names of holders whose tokens are shorter than MIN_TOKEN_LENGTH."""
        for value, holder in tokens:
            self._known.append((_digest(value), holder))
            self.own_token = self.own_token or value
            if len(value) < MIN_TOKEN_LENGTH:
                self.short.append(holder.name)

    @property
    def guarded(self) -> bool:
        return bool(self._known)

    @property
    def operators(self) -> list[str]:
        """Names of holders who choose the server's defaults."""
        return [holder.name for _, holder in self._known if holder.operator]

    def holder(self, value: str) -> TokenHolder | None:
        """The holder of a token, or None. Takes constant time, so it tells nothing about tokens."""
        if not self.guarded:
            return self._everybody
        digest, found = _digest(value), None
        for known, holder in self._known:
            if hmac.compare_digest(known, digest):
                found = holder
        return found


class AccessControl:
    """The current tokens. The tokens file is read again when it changes; an invalid file is
    logged, and the tokens stay as they were."""

    def __init__(self, settings: Settings) -> None:
        """Raise BadSetting."""
        self._settings = settings
        self._limited_log = RateLimitedLog(log)
        self._signature = signature(settings.tokens_file)
        self._tokens = load_tokens(settings)

    def now(self) -> Tokens:
        now = signature(self._settings.tokens_file)
        if not unchanged(self._signature, now):
            self._signature = now
            try:
                self._tokens = load_tokens(self._settings)
            except BadSetting as error:
                self._limited_log.warning("the tokens stay as they were: %s", error)
        return self._tokens

    def holder(self, value: str) -> TokenHolder | None:
        return self.now().holder(value)


def load_tokens(settings: Settings) -> Tokens:
    """Read the tokens. Raise BadSetting when they cannot be used, or when other machines could
    reach a server without tokens."""
    running, waiting = settings.token_running, settings.token_queue
    tokens = read_tokens(settings)
    if not tokens and settings.tokens_file.exists():  # its owner expects the server to be guarded
        raise BadSetting(
            f"{settings.tokens_file} has no token in it: {HOW_TO_MAKE_ONE}, or remove the file"
        )
    if settings.api_key:
        tokens.append((settings.api_key, TokenHolder("api_key", running, waiting, operator=True)))
    for each in ([value for value, _ in tokens], [holder.name for _, holder in tokens]):
        if len(set(each)) < len(each):
            raise BadSetting(f"{settings.tokens_file}: a name or a token is there twice")
    found = Tokens(tokens, TokenHolder("", running, waiting))
    if not (found.guarded or settings.insecure or is_local(settings.host)):
        raise BadSetting(
            f"{settings.host} can be reached from other machines, and no token is needed here: "
            f"{HOW_TO_MAKE_ONE}, set {PREFIX}API_KEY, or say --insecure if everybody "
            "may use this server"
        )
    return found


def client_address(address: str | None) -> str:
    """The address as a key of shares and limits: one machine has a whole IPv6 network of 64 bits.
    "" for all whose address is not known."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Address(found.packed[:8] + bytes(8)))


def bearer(headers: Mapping[str, Any], name: str = "Authorization") -> str:
    """The token in `Authorization: Bearer`; "" when there is none."""
    scheme, _, value = str(headers.get(name, "")).partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode(errors="surrogatepass")).digest()


def is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # unknown: binding it will fail with the reason
    return all(ipaddress.ip_address(each[4][0]).is_loopback for each in found)
