"""Settings of the `llama_cpp` binding: defaults, ranges, conversion and checks.

They arrive as a mapping of plain values, often as text from an environment variable.
Each field of `Settings` is a setting with its default, range or choices, and meaning.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from worker.binding import BindingError

CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
REPLAY_ROWS = 32
"""Rows of logits in one step for resumed answers, besides one row per generation."""
EXACT_REPLAY = 128
"""A resumed answer of up to so many tokens is computed as at first, one token a step. Then its
text continues exactly, because a token computed alone is rounded differently from one in a
batch. A longer answer is computed in large batches, which takes a tenth of the time."""
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
        0, "Context size: tokens of prompt and answer together, at most the model's own unless "
        "rope_* stretch it; 0 is the model's own, at most 8192.",
        low=0, high=2**24,
    )  # fmt: skip
    parallel: int = _setting(8, "Generations that run at the same time.", low=1, high=200)
    kept_memory: int = _setting(
        0, "MiB for the prefix cache, which keeps the states of finished generations; 0 is an "
        "eighth of the free memory.", low=0, high=2**24,
    )  # fmt: skip
    n_cells: int = _setting(
        0, "Tokens that the KV cache holds for all generations together; 0 is "
        "n_ctx × parallel, less if that takes over an eighth of the free memory.",
        low=0, high=2**26,
    )  # fmt: skip
    kv_unified: str = _setting(
        "auto", "One KV cache for all generations: the prefix of a running one is shared without a "
        "copy, but each decoding one scans the tokens of all. off is a cache of n_ctx tokens for "
        "each, auto is off if there is memory for that.", choices=("auto", "on", "off"),
    )  # fmt: skip
    n_batch: int = _setting(
        2048, "Prompt tokens in one step at most; fewer if they would take over a second.", low=1
    )
    n_ubatch: int = _setting(512, "Tokens computed together inside a step.", low=1)
    chunk: int = _setting(
        64, "Prompt tokens in one step while others decode, which wait for it.", low=1
    )
    n_threads: int = _setting(
        0, "Compute threads; 0 is one fewer than cores, divided by `sharers`.", low=0, high=512
    )
    sharers: int = _setting(
        1, "Workers on this machine that have a model loaded; set by the gateway.", low=1
    )
    n_gpu_layers: int = _setting(-1, "Layers on the GPU, if the build supports one; -1 is all.")
    main_gpu: int = _setting(0, "The GPU for the whole model if split_mode is none.", low=0)
    split_mode: str = _setting(
        "layer", "How several GPUs share the model.", choices=("none", "layer", "row")
    )
    tensor_split: str = _setting("", "Each GPU's share, as in 3,1; empty is by their memory.")
    flash_attn: str = _setting("auto", "Flash attention.", choices=("auto", "on", "off"))
    type_k: str = _setting("f16", "Type of the cached keys.", choices=CACHE_TYPES)
    type_v: str = _setting(
        "f16", "Type of the cached values; all but f16, bf16, f32 need flash attention.",
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
        True, "Support `embed`, which creates a context of its own at the first use."
    )
    chat_template: bool = _setting(
        False, "Format prompts with the model's own chat template, if it has one, instead of the "
        "personality's format.",
    )  # fmt: skip
    check_memory: bool = _setting(True, "Refuse a model that cannot fit before loading it.")

    @property
    def stretched(self) -> bool:
        """RoPE scaling extends the model's positions beyond its training."""
        return bool(self.rope_scaling or self.rope_freq_base or self.rope_freq_scale)

    @property
    def outputs(self) -> int:
        """Rows of logits that one step may request; llama.cpp requires one per sequence."""
        return self.parallel + REPLAY_ROWS

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
            except ValueError:  # the colon belongs to the path
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
    """Checked settings; BindingError names an invalid one."""
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
            if isinstance(given, bool):  # YAML parses `on` and `off` as booleans
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
