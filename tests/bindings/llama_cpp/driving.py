"""Drive generations as the worker's pump does: one `next` per generation and pass."""

from collections.abc import Iterator
from typing import Any

from bindings.llama_cpp import LlamaCpp
from protocol.sampling import Sampling
from worker.binding import Piece, Request

GREEDY: dict[str, Any] = {"temperature": 0.0, "repeat_penalty": 1.0}
STORY = "<|user|>Tell me a story about a bear.<|end|><|assistant|>"


def request(
    binding: LlamaCpp, prompt: str, n: int = 24, *, resume: tuple[int, ...] = (), **sampling: Any
) -> Request:
    return Request(prompt, tuple(binding.tokenize(prompt)), n, Sampling(**sampling), resume=resume)


def tokens(pieces: list[Piece]) -> list[int]:
    return [token for piece in pieces for token in piece.tokens]


def text(pieces: list[Piece]) -> str:
    data = b"".join(p.text if isinstance(p.text, bytes) else p.text.encode() for p in pieces)
    return data.decode(errors="replace")


def together(binding: LlamaCpp, *requests: Request) -> list[list[int]]:
    """The tokens of each, generated side by side."""
    running: dict[int, Iterator[Piece]] = {n: binding.generate(r) for n, r in enumerate(requests)}
    found: list[list[Piece]] = [[] for _ in requests]
    while running:
        for n, pieces in list(running.items()):
            piece = next(pieces, None)
            if piece is None:
                del running[n]
            else:
                found[n].append(piece)
    return [tokens(pieces) for pieces in found]


def alone(binding: LlamaCpp, asked: Request) -> list[int]:
    return together(binding, asked)[0]


def said(binding: LlamaCpp, prompt: str, n: int = 24, **sampling: Any) -> str:
    return text(list(binding.generate(request(binding, prompt, n, **sampling))))
