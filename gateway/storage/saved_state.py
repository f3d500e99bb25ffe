"""The state that survives a restart: default model, mounted personalities, active one.

The state in memory changes only after the file.
"""

import asyncio
import json
import logging
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.errors import StateNotSaved
from gateway.storage.atomic_file import backup, keep_aside, write_atomically
from gateway.storage.untrusted_files import read_regular

log = logging.getLogger(__name__)

MAX_MOUNTED = 1000
MAX_BINDINGS = 200
MAX_NAME = 1000
MAX_BYTES = 2**22


class Damaged(ValueError):
    """The content is not a state."""


@dataclass(frozen=True, slots=True)
class State:
    default_binding: str = ""
    default_model: str = ""
    mounted: list[str] = field(default_factory=list)
    """Paths in the zoo. A personality's id is its index: nothing is ever taken out."""
    active: int | None = None
    """Id of the personality that was activated last."""
    models: dict[str, str] = field(default_factory=dict)
    """Binding to the model that was selected last."""


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

    def last_model(self, binding: str) -> str:
        """The last selected model of the binding; "" if none was."""
        return self._state.models.get(binding, "")

    def model_to_preload(self, binding: str) -> str:
        """The default model for a new worker of the default binding; "" for other bindings."""
        return self.default_model if binding == self.default_binding else ""

    async def change(self, **fields: Any) -> None:
        """Set fields of State, on disk first. Raise StateNotSaved, with nothing changed.

        `mounted` is merged: what is new in it is appended. A caller that is cancelled
        meanwhile leaves file and memory alike.
        """
        await asyncio.to_thread(self._change, fields)

    async def mount(self, path: str) -> int:
        """The id of a personality, which is appended if it is not there. Raise StateNotSaved."""
        await self.change(mounted=[path])
        return self._state.mounted.index(path)

    def _change(self, fields: dict[str, Any]) -> None:
        with self._lock:
            new = _changed(self._state, fields)
            if new == self._state:
                return
            try:
                write_atomically(self._path, _encode(new))
            except OSError as error:
                log.error("the state could not be saved to %s: %s", self._path, error.strerror)
                reason = error.strerror or "the disk refused it"
                raise StateNotSaved(f"the change could not be saved: {reason}") from None
            self._state = new


def _changed(state: State, fields: dict[str, Any]) -> State:
    if "mounted" in fields:
        known = set(state.mounted)
        added = [path for path in dict.fromkeys(fields["mounted"]) if path not in known]
        fields = {**fields, "mounted": [*state.mounted, *added]}
    new = replace(state, **fields)
    if new.default_model and fields.keys() & {"default_binding", "default_model"}:
        models = {k: v for k, v in state.models.items() if k != new.default_binding}
        kept = list(models.items())[-(MAX_BINDINGS - 1) :]
        new = replace(new, models=dict([*kept, (new.default_binding, new.default_model)]))
    if len(new.mounted) > MAX_MOUNTED:
        raise StateNotSaved(f"no more than {MAX_MOUNTED} personalities can be mounted")
    try:
        return _decode(_encode(new))
    except Damaged as error:
        raise StateNotSaved(f"the change cannot be saved: {error}") from None


def _encode(state: State) -> bytes:
    return json.dumps(asdict(state), indent=1).encode() + b"\n"


def _decode(content: bytes) -> State:
    """Raise Damaged for anything that `_encode` would not have written."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {error}") from None
    if not isinstance(data, dict):
        raise Damaged("not an object")
    defaults = State()
    known = {name: data.get(name, getattr(defaults, name)) for name in State.__slots__}
    state = State(**known)
    names = (state.default_binding, state.default_model)
    if not all(map(_is_name, names)):
        raise Damaged("a selection is not a name")
    if not isinstance(state.mounted, list) or not all(map(_is_name, state.mounted)):
        raise Damaged("mounted is not a list of names")
    if len(state.mounted) > MAX_MOUNTED or len(set(state.mounted)) < len(state.mounted):
        raise Damaged("mounted is too long, or names one twice")
    models = state.models
    if not isinstance(models, dict) or not all(map(_is_name, [*models, *models.values()])):
        raise Damaged("models is not an object of names")
    if state.active is not None and (
        type(state.active) is not int or not 0 <= state.active < len(state.mounted)
    ):
        raise Damaged("active is not the index of a mounted personality")
    return state


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME


def _load(path: Path) -> State:
    try:
        return _decode(read_regular(path, MAX_BYTES))
    except FileNotFoundError:
        return State()
    except (OSError, Damaged) as error:
        reason = f"{error}".splitlines()[0][:100]
    aside = keep_aside(path)
    try:
        state = _decode(read_regular(backup(path), MAX_BYTES))
        instead = "the state before its last change"
    except (OSError, Damaged):
        state, instead = State(), "the defaults"
    where = f"it is kept as {aside.name}" if aside else "it could not be moved away"
    log.warning("the saved state %s is damaged (%s): using %s; %s", path, reason, instead, where)
    return state
