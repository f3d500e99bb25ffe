"""Does the model fit into this machine's memory?

Known before loading: the weights are the file, and the cache is the header's
layers times heads times what one token takes. What the computation itself
needs is small beside them, and not counted.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from worker.binding import BindingError

from .gguf_header import Header

BLOCK_BYTES = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32,
    "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
"""Bytes an element takes in ggml's types."""

DEFAULT_CONTEXT = 8192
"""Tokens; a model's own context can be a hundred times what a machine has memory for."""
CELLS_SHARE = 0.125
"""Of the memory that the weights leave, what the cache may have beyond one context, unless a
setting says more: llama.cpp takes it all at once."""

KEPT_SHARE = 0.125
"""Of the memory that weights and cache leave, what finished generations may have."""
DEFAULT_ROOM = 8 * 2**30
"""Bytes to take such shares of where nobody knows what there is."""
LEAST_CELLS = 256
"""llama.cpp rounds up to it, and it is more than a step can have sequences."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What loading a model will take."""

    context: int
    """Tokens of one generation."""
    cells: int
    """Tokens of all generations together."""
    weights: int
    """Bytes."""
    cache: int
    """Bytes."""
    kept: int = 0
    """Bytes that finished generations may fill, little by little."""
    separate: bool = False
    """Each generation has a memory of its own, of `context` tokens."""

    @property
    def total(self) -> int:
        return self.weights + self.cache


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
) -> Plan:
    """`available` is bytes; None is unknown, or of no matter.

    Beyond the context that a model was trained with it talks nonsense, unless its positions
    are `stretched` by the rope_* settings.
    """
    own = header.number("context_length", DEFAULT_CONTEXT)
    context = n_ctx or min(own, DEFAULT_CONTEXT)
    if not stretched:
        context = min(context, own)
    a_token = token_bytes(header, type_k, type_v)
    whole = context * parallel
    cells = n_cells or whole
    if kv_unified == "off":
        cells = whole
    elif not n_cells and available is not None and a_token:
        room = int((available - header.size) * CELLS_SHARE / a_token)
        cells = min(cells, room)
    cells = max(context, cells, LEAST_CELLS)
    separate = kv_unified != "on" and cells >= whole
    cache = int(cells * a_token)
    spare = DEFAULT_ROOM if available is None else available - header.size - cache
    kept = kept_memory * 2**20 or max(0, int(spare * KEPT_SHARE))
    return Plan(context, cells, header.size, cache, kept, separate)


def token_bytes(header: Header, type_k: str, type_v: str) -> float:
    """What the keys and values of one token take in all layers."""
    heads = header.number("attention.head_count", 1)
    kv_heads = header.number("attention.head_count_kv", heads)
    width = header.number("embedding_length") // max(1, heads)
    key = header.number("attention.key_length", width)
    value = header.number("attention.value_length", width)
    layers = header.number("block_count")
    return layers * kv_heads * (key * BLOCK_BYTES[type_k] + value * BLOCK_BYTES[type_v])


def check(plan: Plan, available: int | None, *, freed: int = 0) -> bool:
    """True if it fits beside what is loaded, False if it fits in its stead, else BindingError."""
    if available is None or plan.total <= available:
        return True
    if plan.total <= available + freed:
        return False
    raise BindingError(
        f"the model needs about {_size(plan.total)} ({_size(plan.weights)} of weights, "
        f"{_size(plan.cache)} for {plan.cells} tokens) and {_size(available + freed)} are "
        "available; a smaller n_ctx or parallel takes less"
    )


def available(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes this process could still take, by the machine and by its control group."""
    found = [_meminfo(meminfo), _cgroup(cgroup)]
    return min((room for room in found if room is not None), default=None)


def _meminfo(path: Path) -> int | None:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", _read(path), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _cgroup(folder: Path) -> int | None:
    """Of cgroup v2, and of v1. File pages the kernel can drop count as room."""
    for limit, usage, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        ceiling, used = _read(folder / limit).strip(), _read(folder / usage).strip()
        if ceiling.isdigit() and used.isdigit() and int(ceiling) < 2**60:
            stat = _read((folder / limit).with_name("memory.stat"))
            match = re.search(rf"^{cache} (\d+)", stat, re.MULTILINE)
            return max(0, int(ceiling) - int(used) + (int(match[1]) if match else 0))
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(0, count) / 2**20:.0f} MiB"
