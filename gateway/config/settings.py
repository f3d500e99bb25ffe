"""The settings: one table of names, kinds, defaults and explanations.

Each field of `Settings` is a flag, an environment variable and a key of the config file.
"""

# ruff: noqa: RUF009  (`_setting` is `field`)

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from gateway.config import values
from gateway.config.binding_settings import MAX_PROCESSES, BindingSettings, ModelSettings
from gateway.config.values import Scalar
from gateway.validation import MAX_PREDICT, MAX_PROMPT
from protocol.run_folder import CHECKOUT


def _setting(kind: values.Kind, default: Any, meaning: str, *, default_text: str = "") -> Any:
    return field(
        repr=kind is not values.token,
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

    host: str = _setting(values.text, "127.0.0.1", "address to listen on")
    port: int = _setting(values.whole(0, 65535), 9601, "port to listen on; 0 picks a free port")
    home: Path = _setting(
        values.path, None, "data folder of this server: config, state, models, logs, run folder",
        default_text="the folder `var/` of the checkout",
    )  # fmt: skip
    config: Path = _setting(
        values.path, None, "path of the config file", default_text="`config.yaml` in the home"
    )
    bindings_path: Path = _setting(
        values.path, CHECKOUT / "bindings", "folder that contains the bindings",
        default_text="`bindings/` of the checkout",
    )  # fmt: skip
    personalities_path: Path = _setting(
        values.path, CHECKOUT / "personalities", "folder that contains the personalities",
        default_text="`personalities/` of the checkout",
    )  # fmt: skip
    models_path: Path = _setting(
        values.path, None, "folder that contains the models, with one subfolder per binding",
        default_text="`models/` in the home",
    )  # fmt: skip
    binding_name: str = _setting(
        values.name, "llama_cpp", "default binding at startup; if not set, the last one selected"
    )
    model_name: str = _setting(
        values.name,
        "pebble-f16.gguf",
        "default model at startup; if not set, the last one selected",
    )
    n_predict: int = _setting(
        values.whole(1, MAX_PREDICT), 1024, "default maximum number of tokens per answer"
    )
    ctx_size: int = _setting(
        values.whole(0, 2**24), 0,
        "context size in tokens, prompt plus answer; 0 leaves it to the binding",
    )  # fmt: skip
    max_queue: int = _setting(
        values.whole(0, 100_000), 16,
        "maximum waiting generations of one owner for one model; beyond it the answer is `buzzy`",
    )  # fmt: skip
    max_waiting: int = _setting(
        values.whole(0, 100_000), 1000,
        "maximum waiting generations of all owners for all models",
    )  # fmt: skip
    max_models: int = _setting(
        values.whole(1, MAX_PROCESSES), 3,
        "maximum models that are loaded at the same time, for bindings with `processes: auto`",
    )  # fmt: skip
    park_after: float = _setting(
        values.seconds_or_no, 1.0,
        "seconds until an answer that its client does not read gives its slot to others; "
        "`no` means never",
    )  # fmt: skip
    slice: float = _setting(
        values.seconds_or_no, 10.0,
        "seconds that a generation runs at least before it takes turns with others; "
        "`no` means to its end",
    )  # fmt: skip
    rejoin_limit: float = _setting(
        values.seconds, 15.0,
        "seconds that an answer whose last worker died waits for one that is coming; "
        "0 means not at all",
    )  # fmt: skip
    keep_alive: float = _setting(
        values.seconds, 0.0, "seconds until an idle worker is stopped; 0 means never"
    )
    stall_limit: float = _setting(
        values.seconds, 60.0,
        "seconds without progress until a busy worker is treated as hung; 0 means never",
    )  # fmt: skip
    load_limit: float = _setting(
        values.seconds, 600.0,
        "seconds without progress until a loading worker is treated as hung; 0 means never",
    )  # fmt: skip
    no_continue: bool = _setting(
        values.yes_no, False, "if a worker dies, fail its answers instead of continuing them",
        default_text="no",
    )  # fmt: skip
    poison_time: float = _setting(
        values.seconds, 600.0,
        "seconds to refuse a request after two workers died while running it; 0 means never",
    )  # fmt: skip
    max_frame: int = _setting(
        values.whole(10_000, 2**30), 4_000_000, "maximum size of one client message, in bytes"
    )
    max_prompt: int = _setting(
        values.whole(1, 2**28), MAX_PROMPT, "maximum length of a prompt, in characters"
    )
    event_rate: int = _setting(
        values.whole(0, 1_000_000), 1000,
        "maximum events per second from one client; 0 means no limit",
    )  # fmt: skip
    client_limit: float = _setting(
        values.seconds, 60.0,
        "seconds until a client that stopped reading is disconnected; 0 means never",
    )  # fmt: skip
    ping_interval: int = _setting(values.whole(1, 3600), 25, "seconds between pings to a client")
    ping_timeout: int = _setting(
        values.whole(1, 3600), 20, "seconds to wait for a pong before a client is disconnected"
    )
    resume_window: float = _setting(
        values.seconds, 60.0,
        "seconds to keep a session after its client disconnected; 0 means not at all",
    )  # fmt: skip
    keep_discussions: bool = _setting(
        values.yes_no, True,
        "store the discussions of resumable clients in a file in the home",
        default_text="yes",
    )  # fmt: skip
    drain_limit: float = _setting(
        values.seconds, 10.0, "seconds to let running generations finish on shutdown"
    )
    insecure: bool = _setting(
        values.yes_no, False, "allow listening beyond this machine without any token",
        default_text="no",
    )  # fmt: skip
    api_key: str = _setting(values.token, "", "access token for clients; prefer "
        "`LOLLMS_API_KEY`, because `ps` shows flags", default_text="none")  # fmt: skip
    tokens_file: Path = _setting(
        values.path, None, "file with one `name token` per line, readable by its owner only",
        default_text="`tokens` in the home, if it is there",
    )  # fmt: skip
    token_running: int = _setting(
        values.whole(0, 100_000), 0, "maximum concurrent generations per token; 0 means no limit"
    )
    token_queue: int = _setting(
        values.whole(0, 100_000), 4, "maximum generations per token that wait for `token_running`"
    )
    workers_tcp: str = _setting(
        values.address, "", "HOST:PORT to listen on for workers on other machines, which need keys",
        default_text="none",
    )  # fmt: skip
    cors_origins: tuple[str, ...] = _setting(
        values.origins, (), "web origins that may connect besides local ones; `*` allows all"
    )
    ssl_certfile: Path | None = _setting(
        values.path, None, "TLS certificate (PEM); enables https and wss", default_text="none"
    )
    ssl_keyfile: Path | None = _setting(
        values.path, None, "its private key (PEM), if in another file", default_text="none"
    )
    direct_writes: bool = _setting(
        values.yes_no, True,
        "write to websockets directly; `no` uses python-socketio's send path, which is slower",
        default_text="yes",
    )  # fmt: skip
    sandbox: bool = _setting(
        values.yes_no, True,
        "sandbox workers (network, files, privileges) where the system supports it",
        default_text="yes",
    )  # fmt: skip
    log_level: str = _setting(values.level, "INFO", "DEBUG, INFO, WARNING, ERROR or CRITICAL")
    log_format: str = _setting(values.log_format, "text", "text, or json with one object per line")
    bindings: Mapping[str, BindingSettings] = field(default_factory=dict)
    """Each binding's part of the config file."""
    given: frozenset[str] = frozenset()
    """Names of explicit settings; the others have their defaults."""

    def processes(self, binding: str) -> int:
        """How many workers a binding may have; 0 is automatic."""
        return self._of(binding).processes

    def replicas(self, binding: str, model: str) -> int:
        """How many workers may hold the model; 0 is automatic."""
        own = self._of_model(binding, model).replicas
        return self._of(binding).replicas if own is None else own

    def keep_alive_of(self, binding: str, model: str) -> float:
        """Seconds until a worker that holds the model and is idle is stopped; 0 is never."""
        for each in (self._of_model(binding, model).keep_alive, self._of(binding).keep_alive):
            if each is not None:
                return each
        return self.keep_alive

    def memory_limit(self, binding: str) -> int:
        """MiB that each of its workers may have; 0 is no limit."""
        return self._of(binding).memory_limit

    def allowed(self, binding: str) -> str:
        """What of its card's requests the binding gets, separated by commas."""
        return self._of(binding).allow

    def binding_options(self, binding: str) -> dict[str, Scalar]:
        """Its settings in Load messages: its part of the config file without the gateway's keys."""
        return dict(self._of(binding).options)

    def _of(self, binding: str) -> BindingSettings:
        return self.bindings.get(binding, BindingSettings())

    def _of_model(self, binding: str, model: str) -> ModelSettings:
        return self._of(binding).models.get(model, ModelSettings())


def table() -> list[Field[Any]]:
    return [each for each in fields(Settings) if "kind" in each.metadata]


def built_in(name: str) -> Any:
    """A setting's default, whatever is set."""
    return next(each.metadata["default"] for each in table() if each.name == name)
