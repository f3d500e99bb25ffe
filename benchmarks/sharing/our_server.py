"""Our server, started as `make run` does, with one of its bindings."""

import itertools
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from benchmarks import end_to_end
from benchmarks.sharing import model_file
from benchmarks.sharing.our_clients import Polling, SocketIoClient, Websocket
from benchmarks.sharing.requests import embedding_text, http_session
from benchmarks.sharing.servers import Client, Model, Reading, Refused, RunningServer, Server

TOKENS = {"greedy": "g" * 32, "newcomer": "n" * 32}
"""Holders and their tokens."""


class OurServer(Server):
    def __init__(self, binding: str, models: dict[Model, str], slots: int) -> None:
        self.name = self.binding = binding
        self.models = models
        self.slots = slots

    def prepare(self, home: Path) -> dict[str, Any]:
        """Write the models; returns the settings of the binding."""
        return {}

    @asynccontextmanager
    async def running(self, *, newcomers: Model, holders: bool) -> AsyncIterator[RunningServer]:
        with tempfile.TemporaryDirectory(prefix="lollms-") as folder:
            home = Path(folder)
            config = {"bindings": {self.binding: self.prepare(home)}}
            (home / "config.yaml").write_text(yaml.safe_dump(config))
            if holders:
                (home / "tokens").touch(0o600)
                lines = (f"{name} {token}\n" for name, token in TOKENS.items())
                (home / "tokens").write_text("".join(lines))
            server = end_to_end.Server(
                home, self.binding, self.models[newcomers], drain_limit="0", log_level="WARNING",
                token=TOKENS["newcomer"] if holders else "",
            )  # fmt: skip
            with server.running():
                yield OurRunningServer(self, f"http://127.0.0.1:{server.port}")


class LlamaCpp(OurServer):
    def prepare(self, home: Path) -> dict[str, Any]:
        folder = home / "models" / self.binding
        folder.mkdir(parents=True)
        for model in self.models.values():
            model_file.write(folder / model)
        return {"parallel": self.slots, "n_ctx": model_file.CONTEXT}


class OurRunningServer(RunningServer):
    def __init__(self, server: OurServer, url: str) -> None:
        self.slots = server.slots
        self._server = server
        self._url = url

    @asynccontextmanager
    async def client(
        self, model: Model, *, holder: str = "newcomer", reading: Reading = "always"
    ) -> AsyncIterator[Client]:
        async with self._connected(model, holder, reading) as client:
            yield client

    @asynccontextmanager
    async def _connected(
        self, model: Model, holder: str = "newcomer", reading: Reading = "always"
    ) -> AsyncIterator[SocketIoClient]:
        kind = Polling if reading == "by polling" else Websocket
        async with http_session(small_buffers=reading != "always") as http:
            client = kind(self._url, http)
            name = self._server.models[model]
            await client.open(TOKENS[holder], self._server.binding, name)
            yield client

    async def embed(self, in_flight: int, embedded: Callable[[], None]) -> None:
        texts = (embedding_text(number) for number in itertools.count())
        async with self._connected("first") as client:
            for _ in range(in_flight):
                await client.emit("embed", {"prompt": next(texts)})
            while True:
                for name, data in await client.events():
                    if name == "embeded":
                        if not data["success"]:
                            raise Refused(f"embed: {data['error']}")
                        embedded()
                        await client.emit("embed", {"prompt": next(texts)})


ECHO = OurServer("echo", {"first": "lorem", "second": "lorem-10ms"}, slots=64)
ECHO.lacks = {"embeddings": "no embeddings"}
LLAMA_CPP = LlamaCpp("llama_cpp", {"first": "pebble-a.gguf", "second": "pebble-b.gguf"}, slots=8)
