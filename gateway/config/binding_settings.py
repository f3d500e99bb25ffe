"""The `bindings:` part of the config file, checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import values
from gateway.config.values import InvalidValue, Kind, Scalar
from gateway.storage.untrusted_files import is_plain
from gateway.validation import shown

MAX_PROCESSES = 64
AUTO_PROCESSES = 16
"""Workers that supervisor can start of a binding whose processes are automatic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What the gateway uses itself of one model's part."""

    keep_alive: float | None = None
    """Seconds; None is the binding's."""
    replicas: int | None = None
    """None is the binding's, 0 is automatic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingSettings:
    """A binding's part of the config file."""

    processes: int = 0
    """0 is automatic."""
    replicas: int = 0
    """How many workers may hold the same model; 0 is automatic."""
    keep_alive: float | None = None
    """Seconds; None is the server's."""
    memory_limit: int = 0
    """MiB that each of its workers may have; 0 is no limit."""
    allow: str = ""
    """What of its card's requests the binding gets, separated by commas."""
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    options: Mapping[str, Scalar] = field(default_factory=dict)
    """All other keys: the binding's own settings."""


_OF_MODEL: dict[str, Kind] = {
    "keep_alive": values.seconds,
    "replicas": values.count_or_auto(MAX_PROCESSES),
}
_OF_BINDING: dict[str, Kind] = {
    **_OF_MODEL,
    "processes": values.count_or_auto(MAX_PROCESSES),
    "memory_limit": values.whole(16, 2**24),
    "allow": values.permissions,
}


def read_bindings(written: Any, config: Path) -> dict[str, BindingSettings]:
    """Raise InvalidValue, whose text is a whole sentence here."""
    found = {}
    for name, part in _named(written, f"bindings in {config}", "binding"):
        if not is_plain(name):
            raise InvalidValue(f"bindings in {config}: {shown(name)} cannot be a binding's name")
        found[name] = _binding(part, f"bindings.{name} in {config}", config)
    return found


def _binding(part: Any, source: str, config: Path) -> BindingSettings:
    own: dict[str, Any] = {}
    options: dict[str, Scalar] = {}
    for key, value in _settings(part, source):
        if key == "models":
            own[key] = _models(value, source, config)
        elif key in _OF_BINDING:
            own[key] = _read(_OF_BINDING[key], key, value, source, config)
        elif isinstance(value, str | int | float | bool):
            options[key] = value
        else:
            raise InvalidValue(f"{source}: {key} must be one value, not {shown(value)}")
    return BindingSettings(**own, options=options)


def _models(written: Any, source: str, config: Path) -> dict[str, ModelSettings]:
    found = {}
    for name, part in _named(written, f"models of {source}", "model"):
        where = f"models of {source}: {name}"
        own = {}
        for key, value in _settings(part, where):
            if key not in _OF_MODEL:
                known = " and ".join(_OF_MODEL)
                raise InvalidValue(f"{where}: a model has {known} here, not {shown(key)}")
            own[key] = _read(_OF_MODEL[key], key, value, where, config)
        found[name] = ModelSettings(**own)
    return found


def _named(written: Any, source: str, what: str) -> Iterator[tuple[str, Any]]:
    if written is None:
        return
    if not isinstance(written, dict):
        raise InvalidValue(f"{source}: one part for each {what} is expected, not {shown(written)}")
    for name, part in written.items():
        if not isinstance(name, str) or not name or not name.isprintable():
            raise InvalidValue(f"{source}: {shown(name)} cannot be the name of a {what}")
        yield name, part


def _settings(part: Any, source: str) -> Iterator[tuple[str, Any]]:
    """Those that have a value."""
    if not isinstance(part, dict | None):
        raise InvalidValue(f"{source}: settings are expected, not {shown(part)}")
    yield from ((key, value) for key, value in (part or {}).items() if value is not None)


def _read(kind: Kind, key: str, value: Any, source: str, config: Path) -> Any:
    try:
        return kind(value, config)
    except InvalidValue as error:
        raise InvalidValue(f"{source}: {key}: {error}, not {shown(value)}") from None
