"""The binding interface: everything that the worker needs of a model library.

A generation is a generator. The worker holds up to `slots` generators open and
advances each in turn on a single thread, the model thread. Cancelling a generation
closes its generator, so a binding releases its slot in a `finally`. Every method is
called on the model thread, except `interrupt` and `progress`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from protocol.sampling import Sampling

__all__ = [
    "BadRequest", "Binding", "BindingError", "ContextOverflow", "Model", "ModelLost",
    "ModelNotFound", "OutOfMemory", "Piece", "Progress", "Request", "Sampling", "Usage",
]  # fmt: skip


class BindingError(Exception):
    """A failure with a message for the user, one sentence.

    It fails the one request (or load) that raised it. So does any other exception,
    but that one is also logged with its traceback.
    """


class BadRequest(BindingError):
    """The request can never succeed, in any worker; the message says what is wrong with it."""


class ModelNotFound(BindingError):
    pass


class ModelLost(BindingError):
    """`load` failed, and the previous model is no longer loaded either."""


class OutOfMemory(BindingError):
    """`load` would take more memory than there is; what was loaded before still is.

    The gateway may then unload a model elsewhere on this machine, and load again.
    """


class ContextOverflow(BindingError):
    """The prompt cannot fit; the message names its tokens and those of the context."""


class Progress(Protocol):
    def __call__(self, fraction: float | None = None) -> None:
        """`fraction` is the part that is done, 0 to 1; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    path: Path | None = None
    """A regular file, found by the gateway; None for a model without a file."""
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """The binding's part of the configuration file."""
    progress: Progress = field(default=lambda fraction=None: None, compare=False, repr=False)
    """Call it regularly during a slow load, from any thread: a load without progress for
    `load_limit` seconds counts as hung."""
    mapped: int = field(default=0, compare=False)
    """Bytes of other files that the workers of this machine map into memory. The system counts
    them as available, although they are in use."""


class Piece(NamedTuple):
    """The result of one `next()`. An empty piece lets other requests run first."""

    text: str | bytes = ""
    """Bytes may end inside a character; the worker holds an incomplete character back."""
    tokens: tuple[int, ...] = ()
    """The token ids of the text. Without ids, a piece with text counts as one token."""


@dataclass(slots=True)
class Usage:
    """Token counts of a prompt, and log probabilities; filled by the worker and the binding."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    dropped_tokens: int = 0
    computed_tokens: int = 0
    """Tokens of the prompt that are computed, with the reused ones: clients are told while a
    binding counts it up."""
    logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    """With `sampling.logprobs`: for each token of the answer, except resumed ones, its id and
    log probability, then those of the likeliest tokens at its place, before any sampling."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One generation, for the binding. Hashable by identity."""

    prompt: str
    """The text to continue, already truncated to fit the context."""
    tokens: tuple[int, ...] = ()
    """`tokenize(prompt)`; empty for a binding without a context limit."""
    n_predict: int = 1024
    """Maximum number of tokens, including resumed ones. The worker enforces it."""
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    """For information only: the worker ends the generation at a stop string."""
    resume: tuple[int, ...] = ()
    """Ids of the answer's first tokens, generated before this generation was interrupted: yield
    their pieces again, at once, and continue after them. Only for a `resumable` binding."""
    usage: Usage = field(default_factory=Usage)
    holder: str = ""
    """Whose request it is. What is computed for one holder must not be visible to another."""


class Binding(ABC):
    slots: int = 1
    """Number of generators that may be open at once; read after each `load`. Leave it at 1
    unless one native step can advance several sequences, or a step costs almost nothing."""

    context_size: int = 0
    """Maximum number of tokens of prompt and answer together; 0 means no limit. Read after
    `load`."""

    mapped: int = 0
    """Bytes of files that the model maps into memory; read after `load`."""

    resumable: ClassVar[bool] = False
    """Whether the same request always gives the same pieces, or `Request.resume` is honoured."""

    @abstractmethod
    def load(self, model: Model) -> None:
        """Load `model` instead of the current one; may take minutes, may raise BindingError.

        Never called while a generation is open. After an error the previous model
        should still be usable; if it is not, raise ModelLost.
        """

    @abstractmethod
    def generate(self, request: Request) -> Iterator[Piece]:
        """Yield the answer piece by piece.

        Yield an empty `Piece()` to let other requests and cancellations be handled: once
        after joining a batch, and between the parts of a long prompt.
        """

    def rest(self) -> bool:
        """Tidy up for some milliseconds while the worker is idle. Return whether more is to do."""
        return False

    def compose(self, system: str, turns: Sequence[str]) -> str | None:
        """The text to continue for a conversation, if the model has its own format for it.

        `turns` alternate between user and model, and the user's is the last. None selects
        the personality's format.
        """
        return None

    def tokenize(self, text: str) -> list[int]:
        """The token ids of a text. By default, its UTF-8 bytes."""
        return list(text.encode(errors="replace"))

    def detokenize(self, tokens: list[int]) -> bytes:
        return bytes(token & 0xFF for token in tokens)

    def embed(self, text: str) -> list[float]:
        """The embedding of a text, for embedding models."""
        raise BindingError("this binding does not support embeddings")

    # The same in pieces. Each yields None after each part of the work, at best of at most 50 ms,
    # and the result last. Between two parts the worker advances generations, or closes the
    # iterator because the request was cancelled. One of each kind is open at a time, and closed
    # before the next `load`.

    def tokenize_pieces(self, text: str) -> Iterator[list[int] | None]:
        """Override it if `tokenize` takes long for a long text."""
        yield self.tokenize(text)

    def detokenize_pieces(self, tokens: list[int]) -> Iterator[bytes | None]:
        """Override it if `detokenize` takes long for many tokens."""
        yield self.detokenize(tokens)

    def embed_pieces(self, text: str) -> Iterator[list[float] | None]:
        """Override it if `embed` takes long."""
        yield self.embed(text)

    def details(self) -> dict[str, str]:
        """Metadata of the loaded model: name, architecture, parameters, …"""
        return {}

    def interrupt(self, request: Request) -> None:
        """End a long native call early: `request` was cancelled while `next()` may be running.

        Called from the link thread; must not block.
        """

    def progress(self) -> int:
        """A number that changes while a long native call advances, and stands still if it hangs.

        Called from the link thread; must not block. Without it, a call of more than
        `stall_limit` seconds counts as hung.
        """
        return 0

    def close(self) -> None:
        """Release what `load` allocated."""
