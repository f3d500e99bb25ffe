"""What the loads need of a server under test: clients that ask and read, and embeddings."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal

Kind = Literal["chunk", "end", "refused"]
Model = Literal["first", "second"]
Reading = Literal["always", "when told", "by polling"]
Need = Literal["models", "embeddings"]


class Refused(Exception):
    """The server answered a request with an error; says which."""


class Client(ABC):
    """One client, which has at most one answer under way."""

    @abstractmethod
    async def ask(self, tokens: int) -> None:
        """Ask for an answer of so many tokens, or as many as the context has room for."""

    @abstractmethod
    async def read(self) -> list[Kind]:
        """What one read from the network brought; may be empty."""


class Server(ABC):
    """A server that runs while the context is open, freshly started for each measurement."""

    name: str
    slots: int
    lacks: Mapping[Need, str] = {}
    """What the server cannot do, with the text that takes the place of a figure."""

    @abstractmethod
    def running(
        self, *, newcomers: Model, holders: bool
    ) -> AbstractAsyncContextManager["RunningServer"]:
        """The newcomers' model is loaded first. With `holders`, clients have tokens."""


class RunningServer(ABC):
    slots: int

    @abstractmethod
    def client(
        self, model: Model, *, holder: str = "newcomer", reading: Reading = "always"
    ) -> AbstractAsyncContextManager[Client]:
        """A connected client that has selected the model. Unless it reads always, its buffers are
        small. By polling, each read is one GET, where the server has that."""

    @abstractmethod
    async def embed(self, in_flight: int, embedded: Callable[[], None]) -> None:
        """Embed with so many requests under way, without end; `embedded` is called for each."""
