"""Read the settings: flags before variables before the config file before defaults."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any

from gateway.config import values
from gateway.config.binding_settings import read_bindings
from gateway.config.command_line import PREFIX, read_flags
from gateway.config.settings import Settings, table
from gateway.errors import BadSetting
from gateway.storage import untrusted_yaml
from gateway.storage.untrusted_files import NotPrivate, check_private
from gateway.validation import shown
from protocol.run_folder import CHECKOUT

log = logging.getLogger(__name__)


def load_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raise BadSetting. `--help` prints the table and ends the program."""
    flags = read_flags(argv)
    here = Path.cwd()
    found: dict[str, Any] = {}
    for each in table():
        source = PREFIX + each.name.upper()
        if flags[each.name] is not None:
            found[each.name] = _read(each, flags[each.name], f"--{each.name}", here)
        elif environ.get(source) or (source in environ and each.metadata["kind"] is values.name):
            # An empty variable counts as unset, except for names: "" selects nothing.
            found[each.name] = _read(each, environ[source], source, here)
    home = found.get("home", CHECKOUT / "var")
    config = found.get("config", home / "config.yaml")
    written = _config(config, required="config" in found)
    try:
        bindings = read_bindings(written.pop("bindings", None), config)
    except values.InvalidValue as error:
        raise BadSetting(str(error)) from None
    for each in table():
        value = written.pop(each.name, None) if each.name not in ("home", "config") else None
        if value is not None and each.name not in found:
            found[each.name] = _read(each, value, f"{each.name} in {config}", config.parent)
    for unknown in written:
        log.warning("%s: there is no setting named %s", config, shown(unknown))
    given = frozenset(found)
    defaults = {each.name: each.metadata["default"] for each in table()}
    places = {
        "home": home, "config": config, "models_path": home / "models",
        "tokens_file": home / "tokens",
    }  # fmt: skip
    return Settings(**{**defaults, **places, **found}, bindings=bindings, given=given)


def _read(setting: Field[Any], value: object, source: str, base: Path) -> Any:
    try:
        return setting.metadata["kind"](value, base)
    except values.InvalidSecret as error:
        raise BadSetting(f"{source}: {error}") from None
    except values.InvalidValue as error:
        raise BadSetting(f"{source}: {error}, not {shown(value)}") from None


def _config(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        written = untrusted_yaml.load(path)
    except FileNotFoundError:
        if required:
            raise BadSetting(f"the config file {path} does not exist") from None
        return {}
    except untrusted_yaml.Unreadable as error:
        raise BadSetting(f"the config file {path} cannot be read: {error}") from None
    if written is None:
        return {}
    if not isinstance(written, dict):
        raise BadSetting(f"the config file {path} must hold settings, not {shown(written)}")
    if written.get("api_key") is not None:
        try:
            check_private(path)
        except NotPrivate as error:
            raise BadSetting(str(error)) from None
    return written
