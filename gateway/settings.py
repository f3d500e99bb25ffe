"""What can be configured, and from where? Flags > `LOLLMS_*` environment > config.yaml > defaults.

The fields of `Settings` are the one table: each is a flag, an environment
variable and a key of the config file, and carries its explanation.
"""

# ruff: noqa: RUF009  (`_setting` is `field`)

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from gateway import setting_kinds as kinds
from gateway import yamlfile
from gateway.confined import is_plain
from gateway.payloads import MAX_PREDICT, shown

log = logging.getLogger(__name__)

CHECKOUT = Path(__file__).resolve().parents[1]
PREFIX = "LOLLMS_"
MAX_PROCESSES = 64

Scalar = str | int | float | bool


class BadSetting(Exception):
    """The server cannot be started like this. One sentence that names the source."""


def _setting(kind: kinds.Kind, default: Any, meaning: str, *, default_text: str = "") -> Any:
    return field(
        metadata={
            "kind": kind,
            "default": default,
            "meaning": meaning,
            "default_text": default_text,
        }
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Made by `load_settings`. Paths are absolute."""

    host: str = _setting(kinds.text, "127.0.0.1", "address to listen on")
    port: int = _setting(kinds.whole(0, 65535), 9601, "port to listen on; 0 takes a free one")
    home: Path = _setting(
        kinds.path, None, "folder of all that is written: config, state, models, logs, run folder",
        default_text="the folder `var/` of the checkout",
    )  # fmt: skip
    config: Path = _setting(
        kinds.path, None, "the config file", default_text="`config.yaml` in the home"
    )
    bindings_path: Path = _setting(
        kinds.path, CHECKOUT / "bindings", "folder of the bindings",
        default_text="`bindings/` of the checkout",
    )  # fmt: skip
    personalities_path: Path = _setting(
        kinds.path, CHECKOUT / "personalities", "folder of the personalities; only read",
        default_text="`personalities/` of the checkout",
    )  # fmt: skip
    models_path: Path = _setting(
        kinds.path, None, "folder of the models, one folder a binding in it",
        default_text="`models/` in the home",
    )  # fmt: skip
    binding_name: str = _setting(
        kinds.name, "llama_cpp", "binding at the start; when not given, the one selected last"
    )
    model_name: str = _setting(
        kinds.name, "pebble-f16.gguf", "model at the start; when not given, the one selected last"
    )
    n_predict: int = _setting(
        kinds.whole(1, MAX_PREDICT), 1024, "tokens of an answer, where nobody says how many"
    )
    ctx_size: int = _setting(
        kinds.whole(0, 2**24), 0, "tokens that prompt and answer may have; 0 is the model's own"
    )
    max_queue: int = _setting(
        kinds.whole(0, 100_000), 16, "generations that may wait; one more is answered `buzzy`"
    )
    keep_alive: float = _setting(
        kinds.seconds, 0.0, "seconds after which an idle worker is stopped; 0 is never"
    )
    stall_limit: float = _setting(
        kinds.seconds, 60.0, "seconds without progress after which a busy worker counts as hung"
    )
    client_limit: float = _setting(
        kinds.seconds, 60.0,
        "seconds after which a client that does not read what it asked for is dropped; 0 is never",
    )  # fmt: skip
    drain_limit: float = _setting(
        kinds.seconds, 10.0, "seconds that running generations get when the server is stopped"
    )
    cors_origins: tuple[str, ...] = _setting(
        kinds.origins, (), "pages that may connect besides those of this machine; `*` is all"
    )
    direct_writes: bool = _setting(
        kinds.yes_no, True,
        "write to websockets directly; `no` is python-socketio's own way, which is slower",
        default_text="yes",
    )  # fmt: skip
    log_level: str = _setting(kinds.level, "INFO", "DEBUG, INFO, WARNING, ERROR or CRITICAL")
    bindings: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    """Each binding's part of the config file."""
    given: frozenset[str] = frozenset()
    """Names of the settings that somebody set; the others have their defaults."""

    def processes(self, binding: str) -> int:
        """How many workers the binding may have."""
        count = self.bindings.get(binding, {}).get("processes", 1)
        assert isinstance(count, int)
        return count


def table() -> list[Field[Any]]:
    return [each for each in fields(Settings) if "kind" in each.metadata]


def built_in(name: str) -> Any:
    """A setting's default, whatever is set."""
    return next(each.metadata["default"] for each in table() if each.name == name)


def load_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raise BadSetting. `--help` prints the table and ends the program."""
    flags = _flags(argv)
    here = Path.cwd()
    values: dict[str, Any] = {}
    for each in table():
        source = PREFIX + each.name.upper()
        if flags[each.name] is not None:
            values[each.name] = _read(each, flags[each.name], f"--{each.name}", here)
        elif environ.get(source) or (source in environ and each.metadata["kind"] is kinds.name):
            # Empty is the shell's way to unset; but for names, where it means "nothing".
            values[each.name] = _read(each, environ[source], source, here)
    home = values.get("home", CHECKOUT / "var")
    config = values.get("config", home / "config.yaml")
    written = _config(config, required="config" in values)
    bindings = _bindings(written.pop("bindings", None), config)
    for each in table():
        value = written.pop(each.name, None) if each.name not in ("home", "config") else None
        if value is not None and each.name not in values:
            values[each.name] = _read(each, value, f"{each.name} in {config}", config.parent)
    for unknown in written:
        log.warning("%s: there is no setting named %s", config, shown(unknown))
    given = frozenset(values)
    defaults = {each.name: each.metadata["default"] for each in table()}
    places = {"home": home, "config": config, "models_path": home / "models"}
    return Settings(**{**defaults, **places, **values}, bindings=bindings, given=given)


def _read(setting: Field[Any], value: object, source: str, base: Path) -> Any:
    try:
        return setting.metadata["kind"](value, base)
    except kinds.Unfit as error:
        raise BadSetting(f"{source}: {error}, not {shown(value)}") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadSetting(message)


def _flags(argv: Sequence[str]) -> dict[str, str | None]:
    parser = _Parser(
        prog="python -m gateway",
        description="A lightweight multiprocess server for language models.",
        epilog="Each is also an environment variable (LOLLMS_PORT) and a key of the config file "
        "(port); a flag wins over the environment, and both over the file.",
        allow_abbrev=False,
    )
    for each in table():
        spellings = dict.fromkeys((f"--{each.name}", f"--{each.name.replace('_', '-')}"))
        text = f"{each.metadata['meaning']} (default: {_default(each)})"
        parser.add_argument(
            *spellings,
            dest=each.name,
            metavar="VALUE",
            help=text.replace("`", "").replace("%", "%%"),
        )
    return vars(parser.parse_args(list(argv)))


def _config(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        written = yamlfile.load(path)
    except FileNotFoundError:
        if required:
            raise BadSetting(f"the config file {path} does not exist") from None
        return {}
    except yamlfile.Unreadable as error:
        raise BadSetting(f"the config file {path} cannot be read: {error}") from None
    if written is None:
        return {}
    if not isinstance(written, dict):
        raise BadSetting(f"the config file {path} must hold settings, not {shown(written)}")
    return written


def _bindings(written: Any, config: Path) -> dict[str, dict[str, Scalar]]:
    if written is None:
        return {}
    return {
        name: {key: value for key, value in _part(name, part, config) if value is not None}
        for name, part in _named(written, f"bindings in {config}")
    }


def _named(written: Any, source: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(written, dict):
        raise BadSetting(f"{source}: one part for each binding is expected, not {shown(written)}")
    for name, part in written.items():
        if not is_plain(name):
            raise BadSetting(f"{source}: {shown(name)} cannot be the name of a binding")
        yield name, {} if part is None else part


def _part(name: str, part: Any, config: Path) -> Iterator[tuple[str, Scalar | None]]:
    source = f"bindings.{name} in {config}"
    if not isinstance(part, dict):
        raise BadSetting(f"{source}: settings are expected, not {shown(part)}")
    for key, value in part.items():
        if value is not None and not isinstance(value, str | int | float | bool):
            raise BadSetting(f"{source}: {key} must be one value, not {shown(value)}")
        if key == "processes":
            try:
                value = kinds.whole(1, MAX_PROCESSES)(value, config)
            except kinds.Unfit as error:
                raise BadSetting(f"{source}: processes: {error}, not {shown(value)}") from None
        yield key, value


def _default(setting: Field[Any]) -> str:
    text: str = setting.metadata["default_text"]
    if text:
        return text
    default = setting.metadata["default"]
    return (
        f"{default:g}" if isinstance(default, float) else str(default) if default != () else "none"
    )


def markdown_table() -> str:
    """For the README. The key in the config file is the flag without its dashes."""
    rows = [
        "| flag | environment | default | meaning |",
        "|---|---|---|---|",
        *(
            f"| `--{each.name}` | `{PREFIX}{each.name.upper()}` "
            f"| {_default(each)} | {each.metadata['meaning']} |"
            for each in table()
        ),
    ]
    return "\n".join(rows) + "\n"
