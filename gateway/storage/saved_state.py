"""The state that survives a restart: default models and personalities, and mounted ones.

The state in memory changes only after the file.
"""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

from gateway.errors import StateNotSaved
from gateway.storage.atomic_file import backup, keep_aside, write_atomically
from gateway.storage.state import MAX_BYTES, Damaged, State, changed, decode, fitting
from gateway.storage.untrusted_files import read_regular

log = logging.getLogger(__name__)


class SavedState:
    """Reads the file when constructed. Concurrent calls of `change` are serialized."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state = _load(path)

    @property
    def default(self) -> tuple[str, str]:
        """Default binding and model; "" for what is not selected."""
        return self._state.default_binding, self._state.default_model

    @property
    def default_binding(self) -> str:
        return self._state.default_binding

    @property
    def default_model(self) -> str:
        return self._state.default_model

    @property
    def mounted(self) -> tuple[str, ...]:
        return tuple(self._state.mounted)

    @property
    def active(self) -> int | None:
        return self._state.active

    def default_of(self, holder: str) -> tuple[str, str]:
        """A holder's default binding and model: its own, or the server's. The server is ""."""
        own = self._state.holders.get(holder)
        if own and own.default_binding:
            return own.default_binding, own.default_model
        return self.default

    def active_of(self, holder: str) -> int | None:
        """The same for the active personality."""
        own = self._state.holders.get(holder)
        return own.active if own and own.active is not None else self.active

    def last_model(self, binding: str, holder: str = "") -> str:
        """The last model of the binding that the holder selected, or the server's default was; ""
        if there is none."""
        own = self._state.holders.get(holder, self._state)
        return own.models.get(binding, "") or self._state.models.get(binding, "")

    def model_to_preload(self, binding: str) -> str:
        """The default model for a new worker of the default binding; "" for other bindings."""
        return self.default_model if binding == self.default_binding else ""

    async def change(self, holder: str = "", **changes: Any) -> None:
        """Set fields of State, or of a holder's defaults, on disk first. Raise StateNotSaved, with
        nothing changed.

        `mounted` is merged: what is new in it is appended. A caller that is cancelled
        meanwhile leaves file and memory alike.
        """
        await asyncio.to_thread(self._change, holder, changes)

    async def mount(self, path: str) -> int:
        """The id of a personality, which is appended if it is not there. Raise StateNotSaved."""
        await self.change(mounted=[path])
        return self._state.mounted.index(path)

    def _change(self, holder: str, changes: dict[str, Any]) -> None:
        with self._lock:
            new = changed(self._state, holder, changes)
            if new != self._state:
                new, content = fitting(new)
                try:
                    write_atomically(self._path, content)
                except OSError as error:
                    log.error("the state could not be saved to %s: %s", self._path, error.strerror)
                    reason = error.strerror or "the disk refused it"
                    raise StateNotSaved(f"the change could not be saved: {reason}") from None
            self._state = new  # also if only the order of holders is new


def _load(path: Path) -> State:
    try:
        return decode(read_regular(path, MAX_BYTES))
    except FileNotFoundError:
        return State()
    except (OSError, Damaged) as error:
        reason = f"{error}".splitlines()[0][:100]
    aside = keep_aside(path)
    try:
        state = decode(read_regular(backup(path), MAX_BYTES))
        instead = "the state before its last change"
    except (OSError, Damaged):
        state, instead = State(), "the defaults"
    where = f"it is kept as {aside.name}" if aside else "it could not be moved away"
    log.warning("the saved state %s is damaged (%s): using %s; %s", path, reason, instead, where)
    return state
