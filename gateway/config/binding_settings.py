"""The `bindings:` part of the config file, checked."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config.values import OWN_BINDING_SETTINGS, InvalidValue, Scalar
from gateway.storage.untrusted_files import is_plain
from gateway.validation import shown


def read_bindings(written: Any, config: Path) -> dict[str, dict[str, Scalar]]:
    """Raise InvalidValue, whose text is a whole sentence here."""
    if written is None:
        return {}
    return {
        name: {key: value for key, value in _part(name, part, config) if value is not None}
        for name, part in _named(written, f"bindings in {config}")
    }


def _named(written: Any, source: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(written, dict):
        raise InvalidValue(f"{source}: one part for each binding is expected, not {shown(written)}")
    for name, part in written.items():
        if not is_plain(name):
            raise InvalidValue(f"{source}: {shown(name)} cannot be the name of a binding")
        yield name, {} if part is None else part


def _part(name: str, part: Any, config: Path) -> Iterator[tuple[str, Scalar | None]]:
    source = f"bindings.{name} in {config}"
    if not isinstance(part, dict):
        raise InvalidValue(f"{source}: settings are expected, not {shown(part)}")
    for key, value in part.items():
        own = key in OWN_BINDING_SETTINGS
        if value is not None and not own and not isinstance(value, str | int | float | bool):
            raise InvalidValue(f"{source}: {key} must be one value, not {shown(value)}")
        if own and value is not None:
            try:
                value = OWN_BINDING_SETTINGS[key](value, config)
            except InvalidValue as error:
                raise InvalidValue(f"{source}: {key}: {error}, not {shown(value)}") from None
        yield key, value
