"""What can be configured, and from where? Flags > `LOLLMS_*` environment > config.yaml > defaults.

The fields of `Settings` are the one table: each is a flag, an environment
variable and a key of the config file, and carries its explanation.
"""

# ruff: noqa: RUF009  (`_setting` is `field`)

import logging
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from gateway.config import values as kinds
from gateway.config.binding_settings import OURS, Scalar, read_bindings
from gateway.config.command_line import PREFIX, markdown, read_flags
from gateway.errors import BadSetting
from gateway.socketio.payloads import MAX_PREDICT, MAX_PROMPT
from gateway.storage import untrusted_yaml as yamlfile
from gateway.storage.untrusted_files import Exposed, check_private
from gateway.validation import shown
from protocol.run_folder import CHECKOUT

log = logging.getLogger(__name__)


def _setting(kind: kinds.Kind, default: Any, meaning: str, *, default_text: str = "") -> Any:
    return field(
        repr=kind is not kinds.token,
        metadata={
            "kind": kind,
            "default": default,
            "meaning": meaning,
            "default_text": default_text,
        },
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
    load_limit: float = _setting(
        kinds.seconds, 600.0,
        "seconds without progress after which a worker that loads a model counts as hung",
    )  # fmt: skip
    no_continue: bool = _setting(
        kinds.yes_no, False, "do not go on with an answer whose worker died: it ends in an error",
        default_text="no",
    )  # fmt: skip
    poison_time: float = _setting(
        kinds.seconds, 600.0,
        "seconds for which a request is refused that two workers died of; 0 is never",
    )  # fmt: skip
    max_frame: int = _setting(
        kinds.whole(10_000, 2**30), 4_000_000, "bytes of one message of a client; more is refused"
    )
    max_prompt: int = _setting(
        kinds.whole(1, 2**28), MAX_PROMPT, "characters of a prompt; more is refused"
    )
    event_rate: int = _setting(
        kinds.whole(0, 1_000_000), 1000,
        "events a second of one client that are looked at; 0 is no limit",
    )  # fmt: skip
    client_limit: float = _setting(
        kinds.seconds, 60.0,
        "seconds after which a client that does not read what it asked for is dropped; 0 is never",
    )  # fmt: skip
    ping_interval: int = _setting(
        kinds.whole(1, 3600), 25, "seconds between the pings that clients have to answer"
    )
    ping_timeout: int = _setting(
        kinds.whole(1, 3600), 20, "seconds after which a client that does not answer one is gone"
    )
    resume_window: float = _setting(
        kinds.seconds, 60.0,
        "seconds for which a session waits for its client to come back; 0 is not at all",
    )  # fmt: skip
    keep_discussions: bool = _setting(
        kinds.yes_no, True,
        "keep the discussions of clients that may come back, in a file of the home",
        default_text="yes",
    )  # fmt: skip
    drain_limit: float = _setting(
        kinds.seconds, 10.0, "seconds that running generations get when the server is stopped"
    )
    insecure: bool = _setting(
        kinds.yes_no, False, "listen beyond this machine although no token is needed",
        default_text="no",
    )  # fmt: skip
    api_key: str = _setting(kinds.token, "", "a token that clients need; `LOLLMS_API_KEY` is "
        "better, which `ps` does not show", default_text="none")  # fmt: skip
    tokens_file: Path = _setting(
        kinds.path, None, "named tokens, `name token` a line; nobody else may be able to read it",
        default_text="`tokens` in the home, if it is there",
    )  # fmt: skip
    token_running: int = _setting(
        kinds.whole(0, 100_000), 0, "generations of one token at the same time; 0 is no limit"
    )
    token_queue: int = _setting(
        kinds.whole(0, 100_000), 4, "generations that may wait for those of the same token"
    )
    workers_tcp: str = _setting(
        kinds.address, "", "HOST:PORT for workers on other machines, which need keys",
        default_text="none",
    )  # fmt: skip
    cors_origins: tuple[str, ...] = _setting(
        kinds.origins, (), "pages that may connect besides those of this machine; `*` is all"
    )
    ssl_certfile: Path | None = _setting(
        kinds.path, None, "certificate (PEM) for https and wss", default_text="none"
    )
    ssl_keyfile: Path | None = _setting(
        kinds.path, None, "its key, if the same file does not hold it", default_text="none"
    )
    direct_writes: bool = _setting(
        kinds.yes_no, True,
        "write to websockets directly; `no` is python-socketio's own way, which is slower",
        default_text="yes",
    )  # fmt: skip
    sandbox: bool = _setting(
        kinds.yes_no, True,
        "take from workers what they do not need: network, files, privileges, where that works",
        default_text="yes",
    )  # fmt: skip
    log_level: str = _setting(kinds.level, "INFO", "DEBUG, INFO, WARNING, ERROR or CRITICAL")
    log_format: str = _setting(kinds.log_format, "text", "text, or json: one object a line")
    bindings: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    """Each binding's part of the config file."""
    given: frozenset[str] = frozenset()
    """Names of the settings that somebody set; the others have their defaults."""

    def processes(self, binding: str) -> int:
        """How many workers the binding may have."""
        count = self.bindings.get(binding, {}).get("processes", 1)
        assert isinstance(count, int)
        return count

    def memory_limit(self, binding: str) -> int:
        """MiB that each of its workers may have; 0 is no limit."""
        return int(self.bindings.get(binding, {}).get("memory_limit", 0))

    def told(self, binding: str) -> dict[str, Scalar]:
        """What the binding is told: its part of the config file without what is ours."""
        part = self.bindings.get(binding, {})
        return {key: value for key, value in part.items() if key not in OURS}


def table() -> list[Field[Any]]:
    return [each for each in fields(Settings) if "kind" in each.metadata]


def built_in(name: str) -> Any:
    """A setting's default, whatever is set."""
    return next(each.metadata["default"] for each in table() if each.name == name)


def load_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Raise BadSetting. `--help` prints the table and ends the program."""
    flags = read_flags(argv, table())
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
    try:
        bindings = read_bindings(written.pop("bindings", None), config)
    except kinds.Unfit as error:
        raise BadSetting(str(error)) from None
    for each in table():
        value = written.pop(each.name, None) if each.name not in ("home", "config") else None
        if value is not None and each.name not in values:
            values[each.name] = _read(each, value, f"{each.name} in {config}", config.parent)
    for unknown in written:
        log.warning("%s: there is no setting named %s", config, shown(unknown))
    given = frozenset(values)
    defaults = {each.name: each.metadata["default"] for each in table()}
    places = {
        "home": home, "config": config, "models_path": home / "models",
        "tokens_file": home / "tokens",
    }  # fmt: skip
    return Settings(**{**defaults, **places, **values}, bindings=bindings, given=given)


def _read(setting: Field[Any], value: object, source: str, base: Path) -> Any:
    try:
        return setting.metadata["kind"](value, base)
    except kinds.UnfitSecret as error:
        raise BadSetting(f"{source}: {error}") from None
    except kinds.Unfit as error:
        raise BadSetting(f"{source}: {error}, not {shown(value)}") from None


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
    if written.get("api_key") is not None:
        try:
            check_private(path)
        except Exposed as error:
            raise BadSetting(str(error)) from None
    return written


def markdown_table() -> str:
    """For the README."""
    return markdown(table())
