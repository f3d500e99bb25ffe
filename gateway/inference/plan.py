"""The plan of a generation: everything that a worker needs for it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from gateway.scheduling.affinity import prefixes
from gateway.scheduling.quarantine import Fingerprint
from protocol.codec import encode
from protocol.messages import Generate
from protocol.sampling import Sampling

CREDIT = 256
"""Tokens of one generation that may be in flight between worker and client."""


@dataclass(frozen=True)
class Plan:
    """Complete before the request is queued; it does not change afterwards."""

    binding: str
    model: str
    prompt: str
    n_predict: int
    sampling: Sampling
    conditioning: str = ""
    blocks: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    """The conversation as alternating texts, for a model with a chat template of its own."""
    stop: list[str] = field(default_factory=list)
    remember: Callable[[str], object] = field(default=lambda answer: None, repr=False)
    """Called with the part of the answer that the client got."""
    holder: str = ""
    """Whose request it is: see `Generate.holder`."""
    resumable: bool = True
    """Another worker may continue the answer after a crash."""
    owner: str = ""
    """Whose share it counts to in the queue."""
    session: str = ""

    def message(
        self, id: int, resume: list[int], skip: int, credit: int = CREDIT, *, progress: bool = False
    ) -> Generate:
        """`resume` are the token ids so far, `skip` is how many characters the client has."""
        return Generate(
            id,
            self.prompt,
            conditioning=self.conditioning,
            blocks=self.blocks,
            turns=self.turns,
            n_predict=self.n_predict,
            stop=self.stop,
            sampling=self.sampling,
            credit=credit,
            resume=resume,
            skip=skip,
            holder=self.holder,
            progress=progress,
        )

    def prefixes(self) -> list[bytes]:
        """Digests of the beginnings of its prompt: see `gateway.scheduling.affinity`."""
        texts = (self.conditioning, *self.blocks, self.prompt)
        return prefixes(texts, self.holder, f"{self.binding}/{self.model}")

    @property
    def bytes(self) -> int:
        """Memory of its texts."""
        texts = (self.prompt, self.conditioning, *self.blocks, *self.turns, *self.stop)
        return sum(map(sys.getsizeof, texts))

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The same for every holder: a prompt that crashes workers does so for all of them."""
        message = replace(self.message(0, [], 0), holder="")
        return Fingerprint.of(self.binding, self.model, encode(message))
