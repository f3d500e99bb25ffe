"""Generate greedily with llama.cpp, for the evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llama_cpp import Llama


@dataclass(frozen=True)
class Answer:
    """The model's text; `stopped` if it ended by itself before the limit."""

    text: str
    stopped: bool


class GreedyGenerator:
    """A loaded GGUF file that answers one prompt after another."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.llama = Llama(
            str(path), n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False
        )

    def answer(self, prompt: str, limit: int = 256) -> Answer:
        """The greedy answer; names of special tokens in the prompt become those tokens."""
        tokens = self.llama.tokenize(prompt.encode(), add_bos=True, special=True)
        room = min(limit, self.llama.n_ctx() - len(tokens))
        out: list[int] = []
        self.llama.reset()  # type: ignore[no-untyped-call]
        for token in self.llama.generate(tokens, temp=0.0, repeat_penalty=1.0):
            if token == self.llama.token_eos():
                return Answer(self.text(out), True)
            if len(out) == room:
                break
            out.append(token)
        return Answer(self.text(out), False)

    def text(self, tokens: list[int]) -> str:
        """Tokens as text, with replacement characters for invalid UTF-8."""
        return bytes(self.llama.detokenize(tokens)).decode("utf-8", "replace")
