"""Peers in the engine benchmark: start llama-server and llama_cpp.server, and generate.

All servers have the same interface: `generate` yields the number of tokens that just
arrived, and leaving it cancels the generation.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import aiohttp

from benchmarks.peer_builds import llama_cpp_server_path, llama_server
from protocol.run_folder import CHECKOUT

PATIENCE = 120.0
"""Seconds to wait until a server is ready or a token arrives."""


class Server(ABC):
    name: str

    def __init__(self, model: Path, home: Path, *, slots: int, context: int, threads: int) -> None:
        self.model, self.home = model, home
        self.slots, self.context, self.threads = slots, context, threads
        self._processes: list[subprocess.Popen[bytes]] = []

    async def __aenter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            await self.start()
        except BaseException:
            self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.stop()
        finally:
            self._end()

    def _end(self) -> None:
        """End all processes that `run` started, the last first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=CHECKOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads), **environment},
            )  # fmt: skip
        self._processes.append(process)
        return process

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        """The process that computes: the last one started."""
        return self._processes[-1]

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time of each thread of the computing process, since its start."""
        found = {}
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            with suppress(OSError):  # the thread has just ended
                found[thread.name] = int((thread / "schedstat").read_text().split()[0]) / 1e9
        return found

    @abstractmethod
    async def start(self) -> None: ...

    async def stop(self) -> None:
        """Close what `start` opened, before the process ends."""

    @abstractmethod
    def generate(self, prompt: str, count: int) -> AsyncIterator[int]: ...


class _HttpServer(Server):
    port: int
    path: str

    async def _ready(self, path: str) -> None:
        # A connection for each request: servers close old ones, sometimes during a new request.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", connector=connector)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(aiohttp.ClientError):
                async with self._session.get(path) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)
        raise SystemExit(f"{self.name} did not start:\n{(self.home / 'log').read_text()[-2000:]}")

    async def stop(self) -> None:
        await self._session.close()

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[Any]:
        async with self._session.post(self.path, json=body) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])


class LlamaServer(_HttpServer):
    path = "/completion"

    def __init__(self, model: Path, home: Path, *, unified: bool, **sizes: int) -> None:
        super().__init__(model, home, **sizes)
        self.name = "llama-server -kvu" if unified else "llama-server"
        self._unified = unified

    async def start(self) -> None:
        self.port = free_port()
        self.run(
            str(llama_server()), "-m", str(self.model), "--port", str(self.port),
            "-np", str(self.slots), "-c", str(self.slots * self.context),
            "-t", str(self.threads), "-tb", str(self.threads),
            "-kvu" if self._unified else "-no-kvu",
        )  # fmt: skip
        await self._ready("/health")

    async def generate(self, prompt: str, count: int) -> AsyncIterator[int]:
        body = {
            "prompt": prompt, "n_predict": count, "temperature": 0.0, "repeat_penalty": 1.0,
            "ignore_eos": True, "stream": True, "cache_prompt": True,
        }  # fmt: skip
        seen = 0
        async for event in self._events(body):
            if event.get("stop"):
                yield event["tokens_predicted"] - seen
                return
            seen += 1
            yield 1


class LlamaCppServer(_HttpServer):
    name = "llama_cpp.server"
    path = "/v1/completions"

    async def start(self) -> None:
        self.port = free_port()
        self.run(
            sys.executable, "-m", "llama_cpp.server", "--model", str(self.model),
            "--port", str(self.port), "--n_ctx", str(self.context), "--n_threads",
            str(self.threads), "--n_threads_batch", str(self.threads), "--interrupt_requests",
            "false", PYTHONPATH=str(llama_cpp_server_path()),
        )  # fmt: skip
        await self._ready("/v1/models")

    async def generate(self, prompt: str, count: int) -> AsyncIterator[int]:
        body = {
            "prompt": prompt, "max_tokens": count, "temperature": 0.0, "repeat_penalty": 1.0,
            "stream": True, "logit_bias": {"1": -100},
        }  # fmt: skip
        async for event in self._events(body):
            if event["choices"][0]["finish_reason"] is None:
                yield 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
