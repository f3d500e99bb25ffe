"""Write a GGUF file with a Llama model of random weights.

It generates nonsense at the speed of a real model of its size. It is created in seconds,
so no model needs to be downloaded or stored.
"""

import itertools
import string
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

ALIGNMENT = 32
F32, F16, Q8_0 = 0, 1, 8
TYPES = {"F32": F32, "F16": F16, "Q8_0": Q8_0}
FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7}
BLOCK = 32
"""Weights that share a scale in Q8_0."""
SPECIAL = ("<|bos|>", "<|end|>", "<|user|>", "<|assistant|>")
CONTROL, NORMAL = 3, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    width: int = 64
    layers: int = 2
    heads: int = 4
    feed_forward: int = 160
    vocabulary: int = 512
    context: int = 8192
    weights: Literal["F32", "F16", "Q8_0"] = "F16"

    @property
    def parameters(self) -> int:
        return sum(rows * columns for _, (columns, rows), _ in self.tensors())

    def tensors(self) -> Iterator[tuple[str, tuple[int, int], int]]:
        """Name, columns and rows, type; a vector has one row."""
        w, f, matrix = self.width, self.feed_forward, TYPES[self.weights]
        yield "token_embd.weight", (w, self.vocabulary), matrix
        for layer in range(self.layers):
            block = f"blk.{layer}"
            yield f"{block}.attn_norm.weight", (w, 1), F32
            for name in ("q", "k", "v", "output"):
                yield f"{block}.attn_{name}.weight", (w, w), matrix
            yield f"{block}.ffn_norm.weight", (w, 1), F32
            yield f"{block}.ffn_gate.weight", (w, f), matrix
            yield f"{block}.ffn_up.weight", (w, f), matrix
            yield f"{block}.ffn_down.weight", (f, w), matrix
        yield "output_norm.weight", (w, 1), F32
        yield "output.weight", (w, self.vocabulary), matrix


SIXTY_MILLION = Shape(
    width=512, layers=8, heads=8, feed_forward=1408, vocabulary=32_000, context=16_384,
    weights="Q8_0",
)  # fmt: skip


def write(path: Path, shape: Shape, seed: int = 0, **more: Any) -> Path:
    """Deterministic for shape and seed; the folder must exist. `more` is additional metadata."""
    draw = np.random.default_rng(seed)
    return write_gguf(
        path,
        _metadata(shape) | more,
        [
            (name, (columns,) if rows == 1 else (columns, rows), kind,
             _weights(draw, kind, columns, rows))
            for name, (columns, rows), kind in shape.tensors()
        ],
    )  # fmt: skip


def write_gguf(
    path: Path,
    metadata: dict[str, Any],
    tensors: list[tuple[str, tuple[int, ...], int, bytes]],
) -> Path:
    """`tensors`: name, sizes (contiguous dimension first), type and data of each."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(_string(key) + _value(value))
        offset = 0
        for name, sizes, kind, data in tensors:
            file.write(_string(name) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes))
            file.write(struct.pack("<IQ", kind, offset))
            offset += -(-len(data) // ALIGNMENT) * ALIGNMENT
        file.write(bytes(-file.tell() % ALIGNMENT))
        for _, _, _, data in tensors:
            file.write(data)
            file.write(bytes(-file.tell() % ALIGNMENT))
    unfinished.rename(path)
    return path


def _metadata(shape: Shape) -> dict[str, Any]:
    return {
        "general.architecture": "llama",
        "general.name": "Random",
        "general.file_type": FILE_TYPES[shape.weights],
        "llama.context_length": shape.context,
        "llama.embedding_length": shape.width,
        "llama.block_count": shape.layers,
        "llama.feed_forward_length": shape.feed_forward,
        "llama.attention.head_count": shape.heads,
        "llama.attention.head_count_kv": shape.heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": shape.width // shape.heads,
        "llama.vocab_size": shape.vocabulary,
        **vocabulary(shape.vocabulary),
    }


def vocabulary(size: int) -> dict[str, Any]:
    """Metadata of a tokenizer of `size` tokens: special tokens, all bytes, groups of letters."""
    tokens, merges = _vocabulary(size)
    kinds = [CONTROL] * len(SPECIAL) + [NORMAL] * (len(tokens) - len(SPECIAL))
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.add_bos_token": True,
    }


def _vocabulary(size: int) -> tuple[list[str], list[str]]:
    """Special tokens, the 256 bytes, and groups of two and three letters up to `size`."""
    letters, plain = _byte_letters(), string.ascii_letters
    pairs = list(itertools.product(plain, plain))
    triples = ((a + b, c) for (a, b), c in itertools.product(pairs, plain))
    room = size - len(SPECIAL) - len(letters)
    merged = list(itertools.islice(itertools.chain(pairs, triples), room))
    assert len(merged) == room
    tokens = [*SPECIAL, *letters, *(a + b for a, b in merged)]
    return tokens, [f"{a} {b}" for a, b in merged]


def _byte_letters() -> list[str]:
    """GPT-2's mapping of the 256 bytes to visible characters."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) for byte in visible] + [chr(256 + n) for n in range(len(hidden))]


def _weights(draw: np.random.Generator, kind: int, columns: int, rows: int) -> bytes:
    """Scaled so that a layer neither amplifies nor attenuates its input."""
    if rows == 1:
        return bytes(np.ones(columns, "<f4"))
    spread = columns**-0.5
    values = draw.standard_normal((rows, columns), np.float32) * spread
    if kind == F32:
        return bytes(values.astype("<f4"))
    if kind == F16:
        return bytes(values.astype("<f2"))
    blocks = np.zeros(rows * columns // BLOCK, [("scale", "<f2"), ("values", "i1", BLOCK)])
    blocks["scale"] = spread * 4 / 127
    scaled = values.reshape(-1, BLOCK) / blocks["scale"].astype(np.float32)[:, None]
    blocks["values"] = np.clip(np.rint(scaled), -127, 127)
    return blocks.tobytes()


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _string(value)
        case [str(), *_]:
            texts = b"".join(map(_string, value))
            return struct.pack("<IIQ", 9, 8, len(value)) + texts
        case [int(), *_]:
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    raise TypeError(f"no GGUF type for {value!r}")
