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
    port: int = _setting(kinds.whole(0, 65535), 9601, "port to listen on; 0 picks a free port")
    home: Path = _setting(
        kinds.path, None, "data folder of this server: config, state, models, logs, run folder",
        default_text="the folder `var/` of the checkout",
    )  # fmt: skip
    config: Path = _setting(
        kinds.path, None, "path of the config file", default_text="`config.yaml` in the home"
    )
    bindings_path: Path = _setting(
        kinds.path, CHECKOUT / "bindings", "folder that contains the bindings",
        default_text="`bindings/` of the checkout",
    )  # fmt: skip
    personalities_path: Path = _setting(
        kinds.path, CHECKOUT / "personalities", "folder that contains the personalities",
        default_text="`personalities/` of the checkout",
    )  # fmt: skip
    models_path: Path = _setting(
        kinds.path, None, "folder that contains the models, with one subfolder per binding",
        default_text="`models/` in the home",
    )  # fmt: skip
    binding_name: str = _setting(
        kinds.name, "llama_cpp", "default binding at startup; if not set, the last one selected"
    )
    model_name: str = _setting(
        kinds.name, "pebble-f16.gguf", "default model at startup; if not set, the last one selected"
    )
    n_predict: int = _setting(
        kinds.whole(1, MAX_PREDICT), 1024, "default maximum number of tokens per answer"
    )
    ctx_size: int = _setting(
        kinds.whole(0, 2**24), 0,
        "context size in tokens, prompt plus answer; 0 leaves it to the binding",
    )  # fmt: skip
    max_queue: int = _setting(
        kinds.whole(0, 100_000), 16, "maximum waiting generations; beyond it the answer is `buzzy`"
    )
    keep_alive: float = _setting(
        kinds.seconds, 0.0, "seconds until an idle worker is stopped; 0 means never"
    )
    stall_limit: float = _setting(
        kinds.seconds, 60.0,
        "seconds without progress until a busy worker is treated as hung; 0 means never",
    )  # fmt: skip
    load_limit: float = _setting(
        kinds.seconds, 600.0,
        "seconds without progress until a loading worker is treated as hung; 0 means never",
    )  # fmt: skip
    no_continue: bool = _setting(
        kinds.yes_no, False, "if a worker dies, fail its answers instead of continuing them",
        default_text="no",
    )  # fmt: skip
    poison_time: float = _setting(
        kinds.seconds, 600.0,
        "seconds to refuse a request after two workers died while running it; 0 means never",
    )  # fmt: skip
    max_frame: int = _setting(
        kinds.whole(10_000, 2**30), 4_000_000, "maximum size of one client message, in bytes"
    )
    max_prompt: int = _setting(
        kinds.whole(1, 2**28), MAX_PROMPT, "maximum length of a prompt, in characters"
    )
    event_rate: int = _setting(
        kinds.whole(0, 1_000_000), 1000,
        "maximum events per second from one client; 0 means no limit",
    )  # fmt: skip
    client_limit: float = _setting(
        kinds.seconds, 60.0,
        "seconds until a client that stopped reading is disconnected; 0 means never",
    )  # fmt: skip
    ping_interval: int = _setting(kinds.whole(1, 3600), 25, "seconds between pings to a client")
    ping_timeout: int = _setting(
        kinds.whole(1, 3600), 20, "seconds to wait for a pong before a client is disconnected"
    )
    resume_window: float = _setting(
        kinds.seconds, 60.0,
        "seconds to keep a session after its client disconnected; 0 means not at all",
    )  # fmt: skip
    keep_discussions: bool = _setting(
        kinds.yes_no, True,
        "store the discussions of resumable clients in a file in the home",
        default_text="yes",
    )  # fmt: skip
    drain_limit: float = _setting(
        kinds.seconds, 10.0, "seconds to let running generations finish on shutdown"
    )
    insecure: bool = _setting(
        kinds.yes_no, False, "allow listening beyond this machine without any token",
        default_text="no",
    )  # fmt: skip
    api_key: str = _setting(kinds.token, "", "access token for clients; prefer "
        "`LOLLMS_API_KEY`, because `ps` shows flags", default_text="none")  # fmt: skip
    tokens_file: Path = _setting(
        kinds.path, None, "file with one `name token` per line, readable by its owner only",
        default_text="`tokens` in the home, if it is there",
    )  # fmt: skip
    token_running: int = _setting(
        kinds.whole(0, 100_000), 0, "maximum concurrent generations per token; 0 means no limit"
    )
    token_queue: int = _setting(
        kinds.whole(0, 100_000), 4, "maximum generations per token that wait for `token_running`"
    )
    workers_tcp: str = _setting(
        kinds.address, "", "HOST:PORT to listen on for workers on other machines, which need keys",
        default_text="none",
    )  # fmt: skip
    cors_origins: tuple[str, ...] = _setting(
        kinds.origins, (), "web origins that may connect besides local ones; `*` allows all"
    )
    ssl_certfile: Path | None = _setting(
        kinds.path, None, "TLS certificate (PEM); enables https and wss", default_text="none"
    )
    ssl_keyfile: Path | None = _setting(
        kinds.path, None, "its private key (PEM), if in another file", default_text="none"
    )
    direct_writes: bool = _setting(
        kinds.yes_no, True,
        "write to websockets directly; `no` uses python-socketio's send path, which is slower",
        default_text="yes",
    )  # fmt: skip
    sandbox: bool = _setting(
        kinds.yes_no, True,
        "sandbox workers (network, files, privileges) where the system supports it",
        default_text="yes",
    )  # fmt: skip
    log_level: str = _setting(kinds.level, "INFO", "DEBUG, INFO, WARNING, ERROR or CRITICAL")
    log_format: str = _setting(kinds.log_format, "text", "text, or json with one object per line")
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
