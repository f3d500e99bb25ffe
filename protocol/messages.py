"""Every message that crosses between the gateway and a worker.

The gateway is the ROUTER, a worker is a DEALER, and one frame is one message.
`id` names the request that a message belongs to: the gateway draws it, the
worker repeats it. Its upper 32 bits are the gateway's epoch, so that what a
worker still says to a gateway that is gone belongs to nothing.

A conversation:

    worker  -> Hello                     gateway -> Welcome, or Refused
    gateway -> Load(id)                  worker  -> Loaded(id) | Failed(id)
    gateway -> Generate(id)              worker  -> Chunks*, then one of
                                                    Finished(id) | Failed(id)
    gateway -> Credit(id)*               while the client takes what came
    gateway -> Cancel(id)                worker  -> Finished(id, "cancelled"), unless
                                                    an answer is on its way already
    gateway -> Tokenize(id)              worker  -> Tokenized(id) | Failed(id)
    gateway -> Detokenize(id)            worker  -> Detokenized(id) | Failed(id)
    gateway -> Embed(id)                 worker  -> Embedded(id) | Failed(id)
    worker  -> Heartbeat                 every `Welcome.heartbeat` seconds
    gateway -> Introduce                 worker  -> Hello

Whoever changes a message bumps PROTOCOL_VERSION; a golden test remembers.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from protocol.sampling import Sampling


class FinishReason(StrEnum):
    STOP = "stop"  # the model ended its answer, or a stop string was met
    LENGTH = "length"  # n_predict or the context window was reached
    CANCELLED = "cancelled"


class Message:
    """Base of everything that is a frame of its own."""

    __slots__ = ()


# From a worker to the gateway.


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """First frame of a worker's life: until it arrives the ROUTER cannot reach it."""

    protocol: int
    binding: str
    pid: int
    slots: int
    """Generations it can advance at the same time: what the gateway may have in it."""
    secret: str = ""
    model: str = ""
    """Loaded already, when the gateway restarted and the worker did not."""
    host: str = ""
    """The machine's name: a pid means nothing on another one."""
    resumable: bool = False
    """Its generations can go on from `Generate.resume`."""
    sandbox: dict[str, str] = field(default_factory=dict)
    """What was taken away from it, measure by measure: "confined…", or "open: " and why."""


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """Sent by the link thread, so it also beats while the model computes.

    `steps` counts the model thread's passes, and signs of progress while it loads:
    `active` requests whose steps stand still tell a hung model from a slow one.
    """

    steps: int
    active: int


@dataclass(frozen=True, slots=True)
class Loaded(Message):
    id: int
    model: str
    context_size: int
    """In tokens; 0 is no limit."""
    slots: int = 1
    """From now on, instead of what Hello said."""
    details: dict[str, str] = field(default_factory=dict)
    """What the file says of itself: architecture, parameters, quantisation, …"""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text of one generation, ready for its client: whole characters, no part of a stop string."""

    id: int
    text: str
    tokens: list[int] = field(default_factory=list)
    """Ids chosen since the last chunk; their text may come later, held back in the worker."""
    count: int = 1
    """Tokens generated since the last chunk: what it takes of the credit."""


@dataclass(frozen=True, slots=True)
class Chunks(Message):
    """What one pass of the model thread brought, for all running generations together."""

    chunks: list[Chunk]


@dataclass(frozen=True, slots=True)
class Finished(Message):
    id: int
    reason: str
    tokens: int
    """Generated, resumed ones included."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Prompt tokens that did not have to be computed."""
    dropped_tokens: int = 0
    """Prompt tokens left out, so that the rest fits the context."""
    logprobs: list[list[float]] = field(default_factory=list)
    """For each token of the answer: its id and log probability, then in turn id and log
    probability of the likeliest tokens there. Only where `Sampling.logprobs` asks for it."""


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
    """One sentence for people."""


# From the gateway to a worker.


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    heartbeat: float
    """Seconds."""
    epoch: int


@dataclass(frozen=True, slots=True)
class Refused(Message):
    """The worker exits with 78 (EX_CONFIG), which supervisor does not start again."""

    code: str
    error: str


@dataclass(frozen=True, slots=True)
class Introduce(Message):
    """Asks a stranger for its Hello: the gateway restarted and the worker did not.

    The worker drops what it runs for the dead gateway and keeps its model.
    """


@dataclass(frozen=True, slots=True)
class Load(Message):
    """Make `model` the one that is served. Never sent while generations run."""

    id: int
    model: str
    path: str = ""
    """The model's file; "" for a model that has none."""
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)
    """The binding's part of the configuration."""


@dataclass(frozen=True, slots=True)
class Generate(Message):
    """The text to continue is conditioning + blocks + prompt.

    When it is longer than the context, the oldest blocks go first; conditioning and
    prompt stay. A binding whose model has a form of its own makes the text of
    conditioning and turns instead.
    """

    id: int
    prompt: str
    conditioning: str = ""
    blocks: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    """What was said, bare: two for each of `blocks`, and the user's last. Empty for a prompt
    that is to go to the model as it is."""
    n_predict: int = 1024
    stop: list[str] = field(default_factory=list)
    sampling: Sampling = field(default_factory=Sampling)
    credit: int = 256
    """Tokens that may be sent before the first Credit."""
    resume: list[int] = field(default_factory=list)
    """Token ids that another worker had chosen: taken as given, and counted."""
    skip: int = 0
    """Characters of the text that the client has already: not sent again."""


@dataclass(frozen=True, slots=True)
class Credit(Message):
    """The client took this many tokens: as many more may be sent."""

    id: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Cancel(Message):
    """Never queued behind work: the worker's link thread acts on it at once."""

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
