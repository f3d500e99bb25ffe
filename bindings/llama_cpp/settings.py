"""What can be configured about a model, and what is refused?

The binding's part of the configuration arrives as a mapping of plain values,
often as text from an environment variable. Each field below is a setting: its
default, its range or its choices, and what it is for.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from worker.binding import BindingError

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
REPLAYED = 32
"""Rows of logits in one step for resumed answers, beside a row each generation."""
ONE_BY_ONE = 128
"""Tokens of a resumed answer that are computed as in its first life, one a step: then its text
goes on to the letter, because a token alone is rounded otherwise than one of many. A longer
answer is computed in large batches, which takes a tenth of the time."""
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _setting(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    n_ctx: int = _setting(
        0, "Tokens that prompt and answer have together, up to the model's own unless rope_* "
        "stretch it; 0 is the model's own, 8192 at most.",
        low=0, high=2**24,
    )  # fmt: skip
    parallel: int = _setting(8, "Generations that run at the same time.", low=1, high=200)
    kept_memory: int = _setting(
        0, "MiB for finished generations, whose beginnings need not be computed again; 0 is an "
        "eighth of what is free.", low=0, high=2**24,
    )  # fmt: skip
    n_cells: int = _setting(
        0, "Tokens the memory holds for all generations together; 0 is "
        "n_ctx × parallel, less if that takes over an eighth of what is free.",
        low=0, high=2**26,
    )  # fmt: skip
    kv_unified: str = _setting(
        "auto", "One memory for all generations: a running one's beginning is shared without a "
        "copy, and whoever decodes passes over everybody's tokens. off is n_ctx tokens for each, "
        "auto is off where there is room for that.", choices=("auto", "on", "off"),
    )  # fmt: skip
    n_batch: int = _setting(2048, "Prompt tokens in one step while nothing decodes.", low=1)
    n_ubatch: int = _setting(512, "Tokens computed together inside a step.", low=1)
    chunk: int = _setting(
        64, "Prompt tokens in one step while others decode: they wait that long.", low=1
    )
    n_threads: int = _setting(
        0, "Compute threads; 0 is the cores less one, divided by `sharers`.", low=0, high=512
    )
    sharers: int = _setting(
        1, "Workers on this machine that have a model loaded; the gateway says so.", low=1
    )
    n_gpu_layers: int = _setting(-1, "Layers on the GPU, where the build has one; -1 is all.")
    main_gpu: int = _setting(0, "The GPU for all of it when split_mode is none.", low=0)
    split_mode: str = _setting(
        "layer", "How several GPUs share the model.", choices=("none", "layer", "row")
    )
    tensor_split: str = _setting("", "Each GPU's share, as in 3,1; empty is by their memory.")
    flash_attn: str = _setting("auto", "Flash attention.", choices=("auto", "on", "off"))
    type_k: str = _setting("f16", "Type of the cached keys.", choices=CACHE_TYPES)
    type_v: str = _setting(
        "f16", "Type of the cached values; other than f16, bf16, f32 needs flash attention.",
        choices=CACHE_TYPES,
    )  # fmt: skip
    use_mmap: bool = _setting(True, "Map the file instead of reading it.")
    use_mlock: bool = _setting(False, "Keep the weights from being swapped out.")
    lora: str = _setting("", "Adapters to apply, as in a.gguf,b.gguf:0.5 (path[:scale]).")
    rope_scaling: str = _setting(
        "", "How positions are stretched; empty is the model's own.",
        choices=("", "none", "linear", "yarn", "longrope"),
    )  # fmt: skip
    rope_freq_base: float = _setting(0.0, "RoPE base frequency; 0 is the model's own.", low=0)
    rope_freq_scale: float = _setting(0.0, "RoPE frequency factor; 0 is the model's own.", low=0)
    embeddings: bool = _setting(
        True, "Answer `embed`: takes a context of its own at the first use."
    )
    chat_template: bool = _setting(
        False, "Prompts in the form of the model's own chat template, where it has one, and not "
        "in the one that the personality says.",
    )  # fmt: skip
    check_memory: bool = _setting(True, "Refuse a model that cannot fit before loading it.")

    @property
    def stretched(self) -> bool:
        """The model's positions are made to reach further than it was trained for."""
        return bool(self.rope_scaling or self.rope_freq_base or self.rope_freq_scale)

    @property
    def outputs(self) -> int:
        """Rows of logits that one step may ask for; llama.cpp wants one for every sequence."""
        return self.parallel + REPLAYED

    @property
    def rows(self) -> int:
        """Tokens that one step may have."""
        return max(self.n_batch, self.outputs)

    @property
    def adapters(self) -> list[tuple[str, float]]:
        """`lora` as paths and scales."""
        found = []
        for part in filter(None, (p.strip() for p in self.lora.split(","))):
            path, colon, scale = part.rpartition(":")
            try:
                found.append((path, float(scale)) if colon else (part, 1.0))
            except ValueError:  # a colon of the path's own
                found.append((part, 1.0))
        return found

    @property
    def shares(self) -> list[float]:
        """`tensor_split` as numbers."""
        try:
            return [float(part) for part in self.tensor_split.split(",") if part.strip()]
        except ValueError:
            raise BindingError("tensor_split must be numbers with commas between") from None


def read(given: Mapping[str, str | int | float | bool]) -> Settings:
    """Checked settings; BindingError names the one that is wrong."""
    known = {field.name: field for field in fields(Settings)}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise BindingError(f"the llama_cpp binding has no setting {name!r}{hint}")
    settings = Settings(**{name: _checked(known[name], value) for name, value in given.items()})
    _ = settings.shares
    return settings


def _checked(setting: Field[Any], given: str | float | bool) -> Any:
    kind = type(setting.default)
    value = _converted(setting.name, kind, given)
    low, high = setting.metadata["low"], setting.metadata["high"]
    choices = setting.metadata["choices"]
    if (low is not None and value < low) or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high:g}"
        raise BindingError(f"{setting.name} must be at least {low:g}{upper}, not {value:g}")
    if choices and value not in choices:
        raise BindingError(
            f"{setting.name} must be one of {', '.join(filter(None, choices))}, not {value!r}"
        )
    return value


def _converted(name: str, kind: type, given: str | float | bool) -> Any:
    text = str(given).strip().lower()
    try:
        if kind is bool:
            if text not in TRUE + FALSE:
                raise ValueError
            return text in TRUE
        if kind is str:
            if isinstance(given, bool):  # YAML reads `on` and `off` so
                return "on" if given else "off"
            return str(given).strip()
        number = float(text)
        if kind is float:
            if not math.isfinite(number):
                raise ValueError
            return number
        if isinstance(given, bool) or number != int(number):
            raise ValueError
        return int(number)
    except (ValueError, OverflowError):
        what = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise BindingError(f"{name} must be {what}, not {given!r}") from None
