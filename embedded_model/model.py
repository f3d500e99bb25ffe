"""Pebble in PyTorch: the Llama architecture, so that llama.cpp computes the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The sizes of a model, stored in the checkpoint and the GGUF unchanged."""

    vocabulary: int = 1280
    width: int = 256
    layers: int = 5
    heads: int = 4
    key_heads: int = 4
    hidden: int = 576
    context: int = 1024
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


def rope_table(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (length, head / 2), of the rotary positions."""
    steps = torch.arange(0, shape.head, 2, dtype=torch.float32) / shape.head
    angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_base**-steps)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on (batch, heads, length, head); pairs are the two halves of a head.

    llama.cpp pairs neighbours instead, so the export permutes the rows of q and k.
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention. On a CPU, short sequences are two to four times faster written out."""
    length = q.shape[2]
    if q.is_cuda or length > 640:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    future = torch.full((length, length), float("-inf"), dtype=q.dtype, device=q.device).triu(1)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + future
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Causal attention; several query heads may share one key head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        keys = shape.key_heads * shape.head
        self.q = nn.Linear(shape.width, shape.width, bias=False)
        self.k = nn.Linear(shape.width, keys, bias=False)
        self.v = nn.Linear(shape.width, keys, bias=False)
        self.o = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = (batch, length, -1, self.shape.head)
        q = rotate(self.q(x).view(split).transpose(1, 2), cos, sin)
        k = rotate(self.k(x).view(split).transpose(1, 2), cos, sin)
        v = self.v(x).view(split).transpose(1, 2)
        if self.shape.key_heads != self.shape.heads:
            repeat = self.shape.heads // self.shape.key_heads
            k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = attend(q, k, v)
        out: Tensor = self.o(y.transpose(1, 2).reshape(batch, length, width))
        return out


class FeedForward(nn.Module):
    """Llama's gated feed-forward."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.attention = Attention(shape)
        self.feed_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.feed = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        out: Tensor = x + self.feed(self.feed_norm(x))
        return out


class Pebble(nn.Module):
    """The whole model; input and output share the embedding."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        cos, sin = rope_table(shape, shape.context)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self._start()

    def _start(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.02)
        for name, weight in self.named_parameters():
            if weight.ndim == 2 and "embedding" not in name:
                quiet = name.endswith(("o.weight", "down.weight"))
                scale = (2 * self.shape.layers) ** -0.5 if quiet else 1.0
                nn.init.normal_(weight, std=scale * weight.shape[1] ** -0.5)

    def stream(self, tokens: Tensor) -> Tensor:
        """The normalised last states, (batch, length, width), of tokens (batch, length)."""
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def logits(self, states: Tensor) -> Tensor:
        """Scores of the next token for states (…, width)."""
        return F.linear(states, self.embedding.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits(self.stream(tokens))
