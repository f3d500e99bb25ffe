"""A worker that has joined: what it holds and runs. `workers.fleet` alone changes it."""

from dataclasses import dataclass, field

Key = tuple[str, str]
"""Binding and model."""


@dataclass(slots=True, eq=False)
class Worker:
    identity: bytes
    binding: str
    pid: int
    host: str
    slots: int
    resumable: bool
    model: str
    last_heard: float
    used_at: float
    entry: str = ""
    """Of a remote worker: its entry in the list of keys."""
    context_size: int = 0
    sandbox: dict[str, str] = field(default_factory=dict)
    """As Hello says."""
    loading: str = ""
    """The model that it loads; it serves no request meanwhile."""
    models: dict[str, int] = field(default_factory=dict)
    """Of a remote worker: the model files that it has, name to size in bytes."""
    mapped: int = 0
    """Bytes of files that its model maps into memory."""
    expects_mapped: int = 0
    """The same of the model that it loads."""
    previous: str = ""
    """The model that it held before."""
    loading_since: float = 0.0
    held_since: float = 0.0
    """When its model was loaded."""
    load_seconds: float = 0.0
    """How long that took."""
    draining: Key | None = None
    """The model for which it makes room; it gets no new requests until then."""
    requests: set[int] = field(default_factory=set)
    """All that it has not answered."""
    generations: set[int] = field(default_factory=set)
    """Those of `requests` that need a slot."""
    retiring: bool = False
    """It was asked to stop: it gets no requests, and its end is no crash."""
    missing: dict[int, float] = field(default_factory=dict)
    """Those of `requests` that were not in the last heartbeat, and since when."""
    reserved: int = 0
    """Slots promised to requests that are about to be sent."""
    promised: int = 0
    """Requests without a slot that are about to be sent."""
    steps: int = -1
    progress_at: float = 0.0
    """When its model thread last made a step, or had nothing to do."""

    @property
    def name(self) -> str:
        return self.identity.decode(errors="replace")

    @property
    def remote(self) -> bool:
        """Whether it is on another machine: its pid means nothing here."""
        return bool(self.entry)

    def serves(self, model: str) -> bool:
        return self.model == model and not self.loading and not self.retiring

    def has(self, model: str) -> bool:
        """Whether it can find the model's file. A remote one that lists none may have any."""
        return not self.models or model in self.models

    def shares_memory(self, other: "Worker") -> bool:
        """Whether both are on the same machine."""
        return self.remote == other.remote and (not self.remote or self.host == other.host)

    @property
    def key(self) -> Key:
        """What it holds."""
        return self.binding, self.model

    @property
    def idle(self) -> bool:
        return not (self.requests or self.reserved or self.promised or self.loading)

    @property
    def occupied(self) -> int:
        """Slots in use, and promised ones."""
        return len(self.generations) + self.reserved

    @property
    def has_room(self) -> bool:
        return self.occupied < self.slots and not self.draining
