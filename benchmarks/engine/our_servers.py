"""Our own servers in the engine benchmark: the worker alone, and gateway with worker."""

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import socketio
import yaml
import zmq
import zmq.asyncio

from benchmarks.engine.peer_servers import PATIENCE, Server, free_port
from protocol.codec import decode, encode
from protocol.messages import (
    Cancel,
    Chunks,
    Failed,
    Finished,
    Generate,
    Hello,
    Load,
    Loaded,
    LoadProgress,
    Message,
    Welcome,
)  # fmt: skip
from protocol.sampling import Sampling

GREEDY = Sampling(temperature=0.0, repeat_penalty=1.0, ignore_eos=True)


class Worker(Server):
    """Our worker without the gateway: this process takes the gateway's place."""

    name = "worker"

    async def start(self) -> None:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        address = f"ipc://{self.home}/workers.sock"
        self._socket.bind(address)
        self._answers: dict[int, asyncio.Queue[Any]] = {}
        self._last = 0
        self.run(
            sys.executable, "-m", "worker", "llama_cpp", "--home", str(self.home),
            "--gateway", address, "--log_level", "warning",
        )  # fmt: skip
        self._reader = asyncio.create_task(self._read())
        self._welcomed = asyncio.Event()
        await asyncio.wait_for(self._welcomed.wait(), PATIENCE)
        self._installed = installed(self)
        await self.load()

    async def load(self, **more: int) -> None:
        """`more`: settings in addition to those of all servers."""
        id, answers = self._new_request()
        settings = {**settings_of(self), **more}
        await self._send(Load(id, "random", str(self._installed), settings))
        while isinstance(answer := await asyncio.wait_for(answers.get(), PATIENCE), LoadProgress):
            pass
        if not isinstance(answer, Loaded):
            raise SystemExit(f"the worker cannot load the model: {answer}")

    def _new_request(self) -> tuple[int, asyncio.Queue[Any]]:
        self._last += 1
        self._answers[self._last] = asyncio.Queue()
        return self._last, self._answers[self._last]

    async def _send(self, message: Message) -> None:
        await self._socket.send_multipart([self._identity, encode(message)])

    async def _read(self) -> None:
        while True:
            identity, frame = await self._socket.recv_multipart()
            message = decode(frame)
            if isinstance(message, Hello):
                self._identity = identity
                await self._send(Welcome(1.0, 1))
                self._welcomed.set()
            elif isinstance(message, Chunks):
                for chunk in message.chunks:
                    if queue := self._answers.get(chunk.id):
                        queue.put_nowait(chunk.count)
            elif (id := getattr(message, "id", None)) in self._answers:
                self._answers[id].put_nowait(message)

    async def generate(self, prompt: str, count: int) -> AsyncIterator[int]:
        id, answers = self._new_request()
        ended = False
        try:
            await self._send(Generate(id, prompt, n_predict=count, sampling=GREEDY, credit=count))
            while not ended:
                answer = await asyncio.wait_for(answers.get(), PATIENCE)
                if isinstance(answer, Failed):
                    raise SystemExit(f"the worker failed: {answer.error}")
                if ended := isinstance(answer, Finished):
                    return
                yield answer
        finally:
            del self._answers[id]
            if not ended:
                await self._send(Cancel(id))

    async def stop(self) -> None:
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader
        self._socket.close(0)
        self._context.term()


class Gateway(Server):
    """Our server as a client sees it: Socket.IO, gateway, worker."""

    name = "gateway + worker"

    async def start(self) -> None:
        installed(self)
        config = {"bindings": {"llama_cpp": settings_of(self)}, "max_queue": 64}
        (self.home / "config.yaml").write_text(yaml.safe_dump(config))
        self.port = free_port()
        environment = {
            "LOLLMS_HOME": str(self.home), "LOLLMS_PORT": str(self.port),
            "LOLLMS_BINDING_NAME": "llama_cpp", "LOLLMS_MODEL_NAME": self.model.name,
            "LOLLMS_LOG_LEVEL": "warning",
        }  # fmt: skip
        self.run(sys.executable, "-m", "gateway", **environment)
        async with aiohttp.ClientSession() as session:
            await self._until(session, "/health")
            self.run(sys.executable, "-m", "worker", "llama_cpp", **environment)
            await self._until(session, "/ready")
        self._clients: list[socketio.AsyncClient] = []

    async def _until(self, session: aiohttp.ClientSession, path: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{self.port}{path}") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)
        raise SystemExit(f"the gateway did not start:\n{(self.home / 'log').read_text()[-2000:]}")

    async def _client(self) -> socketio.AsyncClient:
        client = socketio.AsyncClient(reconnection=False)
        await client.connect(f"http://127.0.0.1:{self.port}", transports=["websocket"])
        return client

    async def generate(self, prompt: str, count: int) -> AsyncIterator[int]:
        client = self._clients.pop() if self._clients else await self._client()
        events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        for name in ("text_chunk", "text_generated", "generation_error", "buzzy"):
            client.on(name, lambda data=None, name=name: events.put_nowait((name, data)))
        parameters = {"temperature": 0.0, "repeat_penalty": 1.0, "ignore_eos": True}
        request = {"prompt": prompt, "n_predicts": count, "parameters": parameters}
        ended, seen = False, 0
        try:
            await client.emit("generate_text", request)
            while not ended:
                name, data = await asyncio.wait_for(events.get(), PATIENCE)
                if name == "text_chunk":
                    seen += 1
                    yield 1
                    continue
                ended = True
                if name != "text_generated":
                    raise SystemExit(f"the gateway answers {name}: {data}")
                yield data.get("tokens", seen) - seen
        finally:
            if ended:
                self._clients.append(client)
            else:  # reused only after the last event of the cancelled generation
                client.on("text_generated", lambda *_: self._clients.append(client))
                await client.emit("cancel_generation")

    async def stop(self) -> None:
        for client in self._clients:
            await client.disconnect()


def installed(server: Server) -> Path:
    """Copy the model into the server's models folder: a sandboxed worker reads no other folder
    and follows no link out of it."""
    models = server.home / "models" / "llama_cpp"
    models.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(server.model, models))


def settings_of(server: Server) -> dict[str, str | int | float | bool]:
    return {
        "n_ctx": server.context,
        "parallel": server.slots,
        "n_cells": server.slots * server.context,
        "n_threads": server.threads,
    }
