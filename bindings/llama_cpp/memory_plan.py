"""Estimate a model's memory before loading, and check it against what is available.

The weights are the file. The KV cache follows from the header: layers, heads and bytes
per token. The memory for computing is small beside these and not counted. The context
for embeddings is made at the first use, and its memory is checked then.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from worker.binding import BindingError, OutOfMemory

from .gguf_header import Header
from .pace import LEAST

BLOCK_BYTES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32,
    "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
"""Bytes per element of ggml's types."""

DEFAULT_CONTEXT = 8192
"""Tokens; a model's trained context can be a hundred times what a machine has memory for."""
KV_CACHE_SHARE = 0.125
"""Share of the memory left by the weights that the KV cache may use, unless a setting says
more or one context needs more: llama.cpp allocates all of it at once."""
PREFIX_CACHE_SHARE = 0.125
"""Share of the memory left by weights and KV cache that the prefix cache may use."""
ASSUMED_SPARE = 8 * 2**30
"""Bytes left by weights and KV cache, where the available memory is unknown."""
LONGEST_EMBEDDED = 2048
"""Tokens of a text that is embedded."""
OUTPUT_MEMORY = 32 * 2**20
"""Bytes for the rows of logits that llama.cpp computes for the tokens of an embedded chunk."""
MIN_CELLS = 256
"""llama.cpp rounds up to it, and a step cannot have as many sequences."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What loading a model will take."""

    context: int
    """Tokens of one generation: prompt and answer."""
    cells: int
    """KV cache cells: tokens of all generations together."""
    weights: int
    """Bytes."""
    kv_cache: int
    """Bytes."""
    prefix_cache: int = 0
    """Bytes that the states of finished generations may use; allocated one by one."""
    separate: bool = False
    """Each generation has its own KV cache of `context` tokens, instead of a unified one."""

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache


@dataclass(frozen=True, slots=True)
class EmbeddingPlan:
    """What the context for embeddings will take."""

    context: int
    """Tokens of a text."""
    rows: int
    """Tokens that it computes at once, each with a row of logits."""
    total: int
    """Bytes."""


def plan(
    header: Header,
    *,
    n_ctx: int,
    parallel: int,
    n_cells: int,
    kv_unified: str,
    type_k: str,
    type_v: str,
    available: int | None,
    stretched: bool = False,
    kept_memory: int = 0,
) -> MemoryPlan:
    """`available` is in bytes; None means unknown, or not to be considered.

    Beyond its trained context a model generates nonsense, unless the rope_* settings
    stretch its positions (`stretched`).
    """
    trained = header.number("context_length", DEFAULT_CONTEXT)
    context = n_ctx or min(trained, DEFAULT_CONTEXT)
    if not stretched:
        context = min(context, trained)
    per_token = token_bytes(header, type_k, type_v)
    whole = context * parallel
    cells = n_cells or whole
    if kv_unified == "off":
        cells = whole
    elif not n_cells and available is not None and per_token:
        room = int((available - header.size) * KV_CACHE_SHARE / per_token)
        cells = min(cells, room)
    cells = max(context, cells, MIN_CELLS)
    separate = kv_unified != "on" and cells >= whole
    kv_cache = int(cells * per_token)
    spare = ASSUMED_SPARE if available is None else available - header.size - kv_cache
    prefix_cache = kept_memory * 2**20 or max(0, int(spare * PREFIX_CACHE_SHARE))
    return MemoryPlan(context, cells, header.size, kv_cache, prefix_cache, separate)


def token_bytes(header: Header, type_k: str, type_v: str) -> float:
    """Bytes of the keys and values of one token in all layers."""
    heads = header.number("attention.head_count", 1)
    kv_heads = header.number("attention.head_count_kv", heads)
    width = header.number("embedding_length") // max(1, heads)
    key = header.number("attention.key_length", width)
    value = header.number("attention.value_length", width)
    layers = header.number("block_count")
    return layers * kv_heads * (key * BLOCK_BYTES[type_k] + value * BLOCK_BYTES[type_v])


def check(
    plan: MemoryPlan, available: int | None, *, freed: int = 0, whole: int | None = None
) -> bool:
    """True if it fits beside the loaded model, False if instead of it.

    Otherwise raise OutOfMemory; or BindingError if it takes more than the `whole` memory, so
    that no other model is unloaded in vain.
    """
    if available is None or plan.total <= available:
        return True
    if plan.total <= available + freed:
        return False
    error = BindingError if whole is not None and plan.total > whole else OutOfMemory
    raise error(
        f"the model needs about {_size(plan.total)} ({_size(plan.weights)} of weights, "
        f"{_size(plan.kv_cache)} for {plan.cells} tokens) and {_size(available + freed)} are "
        "available; a smaller n_ctx or parallel takes less"
    )


def embedding(plan: MemoryPlan, vocabulary: int, *, chunked: bool) -> EmbeddingPlan:
    """An encoder computes a text at once; otherwise `OUTPUT_MEMORY` bounds the rows.

    llama.cpp has each row of logits twice: in the graph, and where it can be read.
    """
    context = min(plan.context, LONGEST_EMBEDDED)
    row = 2 * 4 * vocabulary
    rows = min(context, max(LEAST, OUTPUT_MEMORY // row), 256) if chunked else context
    kv_cache = context * plan.kv_cache // plan.cells if chunked else 0
    return EmbeddingPlan(context, rows, kv_cache + rows * row)


def check_embedding(plan: EmbeddingPlan, available: int | None) -> None:
    if available is not None and plan.total > available:
        raise BindingError(
            f"embeddings need about {_size(plan.total)} and {_size(available)} are available"
        )


def available(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup"), mapped: int = 0
) -> int | None:
    """Bytes that this process could still use, limited by the machine and its control group.

    The kernel counts the pages of files as available. `mapped` bytes of them are not: other
    processes need them all the time. Negative if they do not even fit now.
    """
    found = [_meminfo(meminfo, mapped), _cgroup(cgroup, mapped)]
    return min((room for room in found if room is not None), default=None)


def whole(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes of memory that the machine, or the control group, has in all."""
    limits = [(_number(_read(meminfo), "MemTotal") or 0) * 1024]
    limits += [
        int(text)
        for name in ("memory.max", "memory/memory.limit_in_bytes")
        if (text := _read(cgroup / name).strip()).isdigit()
    ]
    return min((limit for limit in limits if 0 < limit < 2**60), default=None)


def _meminfo(path: Path, mapped: int) -> int | None:
    available = _number(_read(path), "MemAvailable")
    return None if available is None else available * 1024 - mapped


def _cgroup(folder: Path, mapped: int) -> int | None:
    """Version 2 or 1. File pages that the kernel can drop count as available.

    Mapped ones are among the active and the inactive pages, or not read yet.
    """
    for limit, usage, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_"),
    ):
        ceiling, used = _read(folder / limit).strip(), _read(folder / usage).strip()
        if ceiling.isdigit() and used.isdigit() and int(ceiling) < 2**60:
            stat = _read((folder / limit).with_name("memory.stat"))
            inactive = _number(stat, f"{prefix}inactive_file") or 0
            active = _number(stat, f"{prefix}active_file") or 0
            droppable = min(inactive, inactive + active - mapped)
            return int(ceiling) - int(used) + droppable
    return None


def _number(lines: str, name: str) -> int | None:
    """The number of a line that starts with the name; None if there is none."""
    match = re.search(rf"^{name}:? +(\d+)", lines, re.MULTILINE)
    return int(match[1]) if match else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(0, count) / 2**20:.0f} MiB"
