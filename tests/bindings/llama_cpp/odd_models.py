"""Write GGUF files other than a plain Llama: LoRA adapter, Mamba, BERT, chat template."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_model import F32, Shape, vocabulary, write, write_gguf


def write_lora(path: Path, shape: Shape, rank: int = 4) -> Path:
    """An adapter for the queries of every layer; strong enough to be noticed."""
    draw = np.random.default_rng(1)
    tensors = []
    for layer in range(shape.layers):
        name = f"blk.{layer}.attn_q.weight"
        down, up = (rank, shape.width), (shape.width, rank)
        for part, (rows, columns) in (("lora_a", down), ("lora_b", up)):
            data = draw.standard_normal((rows, columns), np.float32)
            tensors.append((f"{name}.{part}", (columns, rows), F32, data.tobytes()))
    metadata = {
        "general.type": "adapter", "general.architecture": "llama", "adapter.type": "lora",
        "adapter.lora.alpha": float(rank),
    }  # fmt: skip
    return write_gguf(path, metadata, tensors)


def write_mamba(path: Path, width: int = 64, layers: int = 2, words: int = 512) -> Path:
    """A model with a recurrent state instead of a KV cache: no prefix can be taken out of it."""
    draw = np.random.default_rng(2)
    inner, state, kernel, rank = 2 * width, 16, 4, 4
    tensors: list[tuple[str, tuple[int, ...], int, bytes]] = []

    def add(name: str, *sizes: int, values: Any = None) -> None:
        if values is None:
            values = draw.standard_normal(sizes[::-1], np.float32) * sizes[0] ** -0.5
        filled = np.broadcast_to(np.float32(values), sizes[::-1])
        tensors.append((name, sizes, F32, filled.tobytes()))

    add("token_embd.weight", width, words)
    for layer in range(layers):
        block = f"blk.{layer}"
        add(f"{block}.attn_norm.weight", width, values=1)
        add(f"{block}.ssm_in.weight", width, 2 * inner)
        add(f"{block}.ssm_conv1d.weight", kernel, inner)
        add(f"{block}.ssm_conv1d.bias", inner, values=0)
        add(f"{block}.ssm_x.weight", inner, rank + 2 * state)
        add(f"{block}.ssm_dt.weight", rank, inner)
        add(f"{block}.ssm_dt.bias", inner, values=0)
        add(f"{block}.ssm_a", state, inner, values=-np.arange(1, state + 1))
        add(f"{block}.ssm_d", inner, values=1)
        add(f"{block}.ssm_out.weight", inner, width)
    add("output_norm.weight", width, values=1)
    add("output.weight", width, words)
    metadata = {
        "general.architecture": "mamba", "mamba.context_length": 1024,
        "mamba.embedding_length": width, "mamba.feed_forward_length": 0,
        "mamba.block_count": layers, "mamba.attention.head_count": 0,
        "mamba.attention.layer_norm_rms_epsilon": 1e-5, "mamba.ssm.conv_kernel": kernel,
        "mamba.ssm.inner_size": inner, "mamba.ssm.state_size": state,
        "mamba.ssm.time_step_rank": rank, "mamba.vocab_size": words, **vocabulary(words),
    }  # fmt: skip
    return write_gguf(path, metadata, tensors)


def write_encoder(path: Path, width: int = 256, layers: int = 6, words: int = 512) -> Path:
    """A BERT: each token sees all others, so a text cannot be computed in parts."""
    draw = np.random.default_rng(3)
    tensors: list[tuple[str, tuple[int, ...], int, bytes]] = []

    def add(name: str, *sizes: int, values: Any = None) -> None:
        if values is None:
            values = draw.standard_normal(sizes[::-1], np.float32) * sizes[0] ** -0.5
        filled = np.broadcast_to(np.float32(values), sizes[::-1])
        tensors.append((name, sizes, F32, filled.tobytes()))

    def linear(name: str, columns: int, rows: int) -> None:
        add(f"{name}.weight", columns, rows)
        add(f"{name}.bias", rows, values=0)

    def norm(name: str) -> None:
        add(f"{name}.weight", width, values=1)
        add(f"{name}.bias", width, values=0)

    add("token_embd.weight", width, words)
    add("position_embd.weight", width, 2048)
    add("token_types.weight", width, 2)
    norm("token_embd_norm")
    for layer in range(layers):
        block = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            linear(f"{block}.{part}", width, width)
        norm(f"{block}.attn_output_norm")
        linear(f"{block}.ffn_up", width, 4 * width)
        linear(f"{block}.ffn_down", 4 * width, width)
        norm(f"{block}.layer_output_norm")
    metadata = {
        "general.architecture": "bert", "bert.context_length": 2048,
        "bert.embedding_length": width, "bert.feed_forward_length": 4 * width,
        "bert.block_count": layers, "bert.attention.head_count": 4,
        "bert.attention.layer_norm_epsilon": 1e-5, "bert.attention.causal": False,
        "bert.pooling_type": 1, "tokenizer.ggml.token_type_count": 2, **vocabulary(words),
    }  # fmt: skip
    return write_gguf(path, metadata, tensors)


def write_template(path: Path, template: str) -> Path:
    """A tiny model that brings a chat template."""
    return write(path, Shape(), **{"tokenizer.chat_template": template})
