"""The content of the saved state: what is in it, how it changes, and how it is written.

The defaults are the server's, and those of holders of tokens who have selected something.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from gateway.errors import StateNotSaved

MAX_MOUNTED = 1000
MAX_BINDINGS = 200
MAX_HOLDERS = 1000
MAX_BINDINGS_OF_HOLDER = 8
MAX_NAME = 1000
MAX_BYTES = 2**22


class Damaged(ValueError):
    """The content is not a state."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What sessions get that have not selected anything themselves."""

    default_binding: str = ""
    default_model: str = ""
    active: int | None = None
    """Id of the personality that was activated last."""
    models: dict[str, str] = field(default_factory=dict)
    """Binding to the model that was selected last."""


@dataclass(frozen=True, slots=True)
class State(Defaults):
    """The server's defaults, and everything else. Its fields are those of the file."""

    mounted: list[str] = field(default_factory=list)
    """Paths in the zoo. A personality's id is its index: nothing is ever taken out."""
    holders: dict[str, Defaults] = field(default_factory=dict)
    """By the name of the holder; the one whose selection is the oldest comes first."""


D = TypeVar("D", bound=Defaults)


def changed(state: State, holder: str, changes: dict[str, Any]) -> State:
    """The state with changed fields, or with changed defaults of a holder. `mounted` is merged.
    Raise StateNotSaved."""
    if holder:
        others = {name: each for name, each in state.holders.items() if name != holder}
        own = _selected(state.holders.get(holder, Defaults()), changes, MAX_BINDINGS_OF_HOLDER)
        kept = list(others.items())[-(MAX_HOLDERS - 1) :]
        return replace(state, holders=dict([*kept, (holder, own)]))
    if "mounted" in changes:
        known = set(state.mounted)
        added = [path for path in dict.fromkeys(changes["mounted"]) if path not in known]
        changes = {**changes, "mounted": [*state.mounted, *added]}
    new = _selected(state, changes, MAX_BINDINGS)
    if len(new.mounted) > MAX_MOUNTED:
        raise StateNotSaved(f"no more than {MAX_MOUNTED} personalities can be mounted")
    return new


def _selected(old: D, changes: dict[str, Any], max_bindings: int) -> D:
    new = replace(old, **changes)
    if new.default_model and changes.keys() & {"default_binding", "default_model"}:
        models = {k: v for k, v in old.models.items() if k != new.default_binding}
        kept = list(models.items())[-(max_bindings - 1) :]
        new = replace(new, models=dict([*kept, (new.default_binding, new.default_model)]))
    return new


def fitting(state: State) -> tuple[State, bytes]:
    """The state and the file's content, without the oldest holders if it is too long. Raise
    StateNotSaved if it could not be read again."""
    while len(content := _encode(state)) > MAX_BYTES and state.holders:
        holders = list(state.holders.items())
        state = replace(state, holders=dict(holders[len(holders) // 10 + 1 :]))
    try:
        return decode(content), content
    except Damaged as error:
        raise StateNotSaved(f"the change cannot be saved: {error}") from None


def _encode(state: State) -> bytes:
    return json.dumps(asdict(state), indent=1).encode() + b"\n"


def decode(content: bytes) -> State:
    """Raise Damaged for anything that `fitting` would not have made."""
    if len(content) > MAX_BYTES:
        raise Damaged("it is too long")
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"no JSON: {error}") from None
    state = State(**_fields(data, State))
    if not isinstance(state.mounted, list) or not all(map(_is_name, state.mounted)):
        raise Damaged("mounted is not a list of names")
    if len(state.mounted) > MAX_MOUNTED or len(set(state.mounted)) < len(state.mounted):
        raise Damaged("mounted is too long, or names one twice")
    if not isinstance(state.holders, dict) or not all(map(_is_name, state.holders)):
        raise Damaged("holders is not an object of names")
    if len(state.holders) > MAX_HOLDERS:
        raise Damaged("holders is too long")
    holders = {name: Defaults(**_fields(each, Defaults)) for name, each in state.holders.items()}
    for each in (state, *holders.values()):
        _check(each, len(state.mounted))
    return replace(state, holders=holders)


def _fields(data: Any, kind: type[Defaults]) -> dict[str, Any]:
    """Those that are missing have their defaults, as in a file of an earlier version."""
    if not isinstance(data, dict):
        raise Damaged("not an object")
    return {each.name: data[each.name] for each in fields(kind) if each.name in data}


def _check(defaults: Defaults, mounted: int) -> None:
    """Raise Damaged."""
    if not all(map(_is_name, (defaults.default_binding, defaults.default_model))):
        raise Damaged("a selection is not a name")
    models = defaults.models
    if not isinstance(models, dict) or not all(map(_is_name, [*models, *models.values()])):
        raise Damaged("models is not an object of names")
    active = defaults.active
    if active is not None and (type(active) is not int or not 0 <= active < mounted):
        raise Damaged("active is not the index of a mounted personality")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME
