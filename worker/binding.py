"""What must a binding do? The whole contract between a model library and us.

A generation is a generator. The worker holds up to `slots` of them open and
advances each in turn on a single thread, the model thread; cancelling one is
closing it, so a binding's `finally` is where a slot is given back. No method
here is called from any other thread, `interrupt` excepted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

from protocol.sampling import Sampling

__all__ = [
    "Binding", "BindingError", "ContextOverflow", "Model", "ModelLost", "ModelNotFound",
    "Piece", "Request", "Sampling", "Usage",
]  # fmt: skip


class BindingError(Exception):
    """A failure worth telling the user about, in one sentence meant for them.

    It fails the one request (or load) that raised it. Any other exception does
    too, but is logged with its traceback first.
    """


class ModelNotFound(BindingError):
    pass


class ModelLost(BindingError):
    """`load` failed, and what was loaded before is gone, too."""


class ContextOverflow(BindingError):
    """The prompt cannot fit; the message gives both numbers."""


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    path: Path | None = None
    """A regular file, as found by the gateway; None for a model that has no file."""
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """The binding's part of the configuration file."""
    progress: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)
    """To be called now and then while it loads, from any thread: what makes no progress for
    `load_limit` seconds counts as hung."""


class Piece(NamedTuple):
    """What one `next()` brought. Without text and tokens it means: others may go first."""

    text: str | bytes = ""
    """Bytes may end inside a character; the worker holds such an end back."""
    tokens: tuple[int, ...] = ()
    """The ids behind the text. A binding without ids counts one token a piece that has text."""


@dataclass(slots=True)
class Usage:
    """What a generation did with its prompt; filled by the worker and the binding."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    dropped_tokens: int = 0
    logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    """With `sampling.logprobs`: for each token of the answer, resumed ones left out, its id and
    log probability, then those of the likeliest tokens there, before any sampling."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One generation, as the binding sees it. Hashable by identity."""

    prompt: str
    """The text to continue; already cut to what fits the context."""
    tokens: tuple[int, ...] = ()
    """`tokenize(prompt)`; empty for a binding without a context limit."""
    n_predict: int = 1024
    """End after so many tokens, resumed ones included. The worker holds you to it."""
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    """For information: the worker ends the generation at a stop string."""
    resume: tuple[int, ...] = ()
    """Ids of the answer's first tokens, chosen in an earlier life of this generation: yield
    their pieces again, at once, and go on behind them. Only for a `resumable` binding."""
    usage: Usage = field(default_factory=Usage)


class Binding(ABC):
    slots: int = 1
    """Generators the worker may hold open at once; read after each `load`. Leave it at 1
    unless one native step can advance several sequences, or a step costs next to nothing."""

    context_size: int = 0
    """Tokens that prompt and answer may have together; 0 is no limit. Read after `load`."""

    resumable: ClassVar[bool] = False
    """The same request always gives the same pieces, or `Request.resume` is honoured."""

    @abstractmethod
    def load(self, model: Model) -> None:
        """Make `model` the current one; may take minutes, may raise BindingError.

        Never called while a generation is open. After an error the model that was
        loaded before should still serve; where it cannot, raise ModelLost.
        """

    @abstractmethod
    def generate(self, request: Request) -> Iterator[Piece]:
        """Yield the answer piece by piece.

        Yield `Piece()` to let other requests and cancellations in without producing
        anything: once after joining a batch, and between the parts of a long prompt.
        """

    def rest(self) -> bool:
        """Nobody waits for anything: some milliseconds to tidy up. Whether there is more to do."""
        return False

    def compose(self, system: str, turns: Sequence[str]) -> str | None:
        """The text to continue for a conversation, if the model has a form of its own for it.

        `turns` are the user's and the model's, one after the other, the user's last. None
        leaves it to the personality's form.
        """
        return None

    def tokenize(self, text: str) -> list[int]:
        """Without a model's own vocabulary: the text's UTF-8 bytes."""
        return list(text.encode(errors="replace"))

    def detokenize(self, tokens: list[int]) -> bytes:
        return bytes(token & 0xFF for token in tokens)

    def embed(self, text: str) -> list[float]:
        """The text as a vector, for models that are made for it."""
        raise BindingError("this binding makes no embeddings")

    def details(self) -> dict[str, str]:
        """What the loaded model says of itself: name, architecture, parameters, …"""
        return {}

    def interrupt(self, request: Request) -> None:
        """`request` was cancelled while `next()` may be running: cut a long native call short.

        Called from the link thread; do nothing that could wait.
        """

    def close(self) -> None:
        """Release what `load` took."""
