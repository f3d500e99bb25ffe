"""CURVE key allow-list for remote workers, and the gateway's own key.

A line of the list is one worker: its name, its public key, and a digest of the secret
in its Hello. The list is read at each handshake and watched in between: delete a line to
revoke a key.
"""

import hashlib
import hmac
import logging
from pathlib import Path

import zmq

from gateway.errors import BadSetting
from gateway.storage.folder_cache import Signature, signature, unchanged
from gateway.storage.untrusted_files import NotPrivate, check_private, read_regular
from protocol.logs import RateLimitedLog

log = logging.getLogger(__name__)

MAX_BYTES = 1_000_000


def key_file(home: Path) -> Path:
    """The gateway's secret key; its public one follows from it."""
    return home / "keys" / "gateway.key"


def list_file(home: Path) -> Path:
    return home / "keys" / "workers"


def gateway_key(home: Path) -> bytes:
    """Secret, as ZeroMQ wants it. Raise BadSetting."""
    path = key_file(home)
    try:
        check_private(path)
        key = read_regular(path, MAX_BYTES).strip()
        zmq.curve_public(key)
        return key
    except FileNotFoundError:
        raise BadSetting(
            "workers on other machines need keys: `python -m gateway.keys worker NAME` makes them"
        ) from None
    except (NotPrivate, OSError) as error:
        raise BadSetting(str(error)) from None
    except (ValueError, zmq.ZMQError):
        raise BadSetting(f"{path} is not a CURVE key") from None


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


Entry = tuple[str, str, str]
"""Name, public key, digest of the secret."""


class WorkerKeys:
    """The list as it is now. An unreadable list is logged, and counts as empty."""

    def __init__(self, home: Path) -> None:
        self._path = list_file(home)
        self._log = RateLimitedLog(log)
        self._signature: Signature = None
        self._entries: frozenset[str] = frozenset()  # at that signature

    def has_key(self, key: bytes) -> bool:
        """Whether this public key, in Z85, is on the list."""
        known = [entry[1] for entry in self.entries() if entry[1] == key.decode(errors="replace")]
        if not known:
            self._log.warning("refused a worker on another machine: its key is not known")
        return bool(known)

    def entry_of(self, key: str, secret: str) -> str:
        """The entry that has this key and this secret, as a text for `has_entry`, or ""."""
        given = digest(secret)
        found = [
            entry
            for entry in self.entries()
            if hmac.compare_digest(entry[2].encode(), given.encode()) and entry[1] == key
        ]
        return _text(found[0]) if found else ""

    def has_entry(self, entry: str) -> bool:
        """Whether the list still has this entry. The file is read when it has changed."""
        now = signature(self._path)
        if not unchanged(self._signature, now):
            self._entries = frozenset(map(_text, self.entries()))
            self._signature = now
        return entry in self._entries

    def entries(self) -> list[Entry]:
        try:
            check_private(self._path)
            lines = read_regular(self._path, MAX_BYTES).decode().splitlines()
        except FileNotFoundError:
            return []
        except (NotPrivate, OSError, ValueError) as error:
            self._log.warning("workers on other machines are refused: %s", error)
            return []
        words = [line.split() for line in lines if not line.startswith("#")]
        return [(each[0], each[1], each[2]) for each in words if len(each) == 3]


def _text(entry: Entry) -> str:
    return " ".join(entry)
