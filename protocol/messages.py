"""All messages between the gateway and a worker.

The gateway is the ROUTER, each worker is a DEALER, and one frame is one message.
`id` identifies the request of a message: the gateway chooses it, the worker
repeats it. Its upper 32 bits are the gateway's epoch, so that messages for an
earlier gateway match no request.

A conversation:

    worker  -> Hello                     gateway -> Welcome, or Refused
    gateway -> Load(id)                  worker  -> LoadProgress(id)*, then one of
                                                    Loaded(id) | Failed(id)
    gateway -> Generate(id)              worker  -> PromptProgress(id)*, Chunks*, then one of
                                                    Finished(id) | Failed(id)
    gateway -> Credit(id)*               while the client reads
    gateway -> Cancel(id)                worker  -> Finished(id, "cancelled"), also for an
                                                    id that it does not know
    gateway -> Tokenize(id)              worker  -> Tokenized(id) | Failed(id)
    gateway -> Detokenize(id)            worker  -> Detokenized(id) | Failed(id)
    gateway -> Embed(id)                 worker  -> Embedded(id) | Failed(id)
    worker  -> Heartbeat                 every `Welcome.heartbeat` seconds
    gateway -> Introduce                 worker  -> Hello
    gateway -> Quit                      worker  -> nothing: its process ends

Every change to a message increments PROTOCOL_VERSION; a golden test checks this.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from protocol.sampling import Sampling


class FinishReason(StrEnum):
    STOP = "stop"  # the model ended its answer, or a stop string was found
    LENGTH = "length"  # n_predict or the context window was reached
    CANCELLED = "cancelled"


class Message:
    """Base class of everything that is sent as a frame."""

    __slots__ = ()


# From a worker to the gateway.


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """A worker's first frame: the ROUTER cannot send to a worker before it has arrived."""

    protocol: int
    binding: str
    pid: int
    slots: int
    """The number of requests that the gateway may have in this worker at the same time."""
    secret: str = ""
    model: str = ""
    """The model that is already loaded, if the gateway restarted and the worker did not."""
    host: str = ""
    """The machine's name: a pid has no meaning on another machine."""
    resumable: bool = False
    """Its generations can continue from `Generate.resume`."""
    sandbox: dict[str, str] = field(default_factory=dict)
    """Result of each sandbox measure: "confined…", or "open: " and the reason."""
    mapped: int = 0
    """As `Loaded.mapped`, of the model that is already loaded."""
    models: dict[str, int] = field(default_factory=dict)
    """Of a worker on another machine: the files in its models folder, and their sizes in bytes."""


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """Sent by the link thread, so it is also sent while the model computes.

    `steps` counts the passes of the model thread, calls of `progress` during a load, and what
    the binding reports from inside a native call.
    A model hangs, and is not merely slow, if requests are `active` and `steps` stands still.
    """

    steps: int
    active: int
    requests: list[int] = field(default_factory=list)
    """Ids that the worker has accepted and not answered."""
    last: int = 0
    """The highest id that it has received from this gateway: a request up to this one that is
    not among `requests` has been answered, or is lost."""


@dataclass(frozen=True, slots=True)
class Loaded(Message):
    id: int
    model: str
    context_size: int
    """In tokens; 0 means no limit."""
    slots: int = 1
    """Replaces `Hello.slots`."""
    details: dict[str, str] = field(default_factory=dict)
    """Metadata of the model file: architecture, parameters, quantisation, …"""
    mapped: int = 0
    """Bytes of files that the model maps into memory. The system counts them as available,
    although they are in use."""


@dataclass(frozen=True, slots=True)
class LoadProgress(Message):
    """Sent at most 4 times a second, if the binding knows how far its load is."""

    id: int
    fraction: float
    """Part of the load that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class PromptProgress(Message):
    """Sent at most 4 times a second, and only before the first token of its generation."""

    id: int
    done: int
    """Tokens of the prompt that are computed, with the reused ones."""
    total: int
    reused: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text of one generation for its client: whole characters, no part of a stop string."""

    id: int
    text: str
    tokens: list[int] = field(default_factory=list)
    """Token ids since the last chunk. The worker may hold their text back until a later chunk."""
    count: int = 1
    """Tokens generated since the last chunk; they use up credit."""


@dataclass(frozen=True, slots=True)
class Chunks(Message):
    """The results of one pass of the model thread, for all running generations."""

    chunks: list[Chunk]


@dataclass(frozen=True, slots=True)
class Finished(Message):
    id: int
    reason: str
    tokens: int
    """Generated tokens, including resumed ones."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Prompt tokens that did not need to be computed again."""
    dropped_tokens: int = 0
    """Prompt tokens dropped to fit the context."""
    logprobs: list[list[float]] = field(default_factory=list)
    """For each token of the answer, except resumed ones: id and log probability, its own, then of
    each of the likeliest tokens at its place. Only if `Sampling.logprobs` is set."""


@dataclass(frozen=True, slots=True)
class Tokenized(Message):
    id: int
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class Detokenized(Message):
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Embedded(Message):
    id: int
    vector: list[float]


@dataclass(frozen=True, slots=True)
class Failed(Message):
    id: int
    code: str
    error: str
    """One sentence for the user."""


# From the gateway to a worker.


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    heartbeat: float
    """Seconds."""
    epoch: int


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """The worker exits with code 78 (EX_CONFIG), after which supervisor does not restart it."""

    code: str
    error: str


@dataclass(frozen=True, slots=True)
class Introduce(Message):
    """Asks an unknown worker for its Hello: the gateway restarted and the worker did not.

    The worker drops the requests of the dead gateway and keeps its model.
    """


@dataclass(frozen=True, slots=True)
class Quit(Message):
    """Ends the process, whatever its model thread does: the link thread exits with code 70.

    For a worker that the gateway cannot signal, because it runs on another machine.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Load(Message):
    """Load `model` instead of the current one. Never sent while generations run."""

    id: int
    model: str
    path: str = ""
    """The model's file; "" if it has none, or one that only the worker has."""
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)
    """The binding's part of the configuration."""
    mapped: int = 0
    """Bytes of other files that the workers of this machine map: the system counts them as
    available, but they are not."""


@dataclass(frozen=True, slots=True)
class Generate(Message):
    """The text to continue is conditioning + blocks + prompt.

    If it is longer than the context, the oldest blocks are dropped first; conditioning
    and prompt stay. A binding whose model has its own conversation format makes the text
    from conditioning and turns instead.
    """

    id: int
    prompt: str
    conditioning: str = ""
    blocks: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    """The conversation without formatting: two turns for each of `blocks`, then the user's
    last one. Empty for a prompt that must reach the model unchanged."""
    n_predict: int = 1024
    stop: list[str] = field(default_factory=list)
    sampling: Sampling = field(default_factory=Sampling)
    credit: int = 256
    """Tokens that may be sent before the first Credit."""
    resume: list[int] = field(default_factory=list)
    """Token ids that another worker generated. They are repeated, and counted."""
    skip: int = 0
    """Characters of the text that the client already has; they are not sent again."""
    holder: str = ""
    """Whose request it is, as an opaque text: the prefix of a prompt is shared within one
    holder only."""
    progress: bool = False
    """Send PromptProgress."""


@dataclass(frozen=True, slots=True)
class Credit(Message):
    """The worker may send this many more tokens; the client has received as many."""

    id: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """Never queued behind other work: the worker's link thread handles it immediately."""

    id: int


@dataclass(frozen=True, slots=True)
class Tokenize(Message):
    id: int
    text: str


@dataclass(frozen=True, slots=True)
class Detokenize(Message):
    id: int
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class Embed(Message):
    id: int
    text: str
