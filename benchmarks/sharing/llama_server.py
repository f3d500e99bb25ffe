"""The peer: llama-server, with as many slots and threads as our `llama_cpp` worker."""

import asyncio
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp

from benchmarks.engine.peer_servers import free_port
from benchmarks.peer_builds import virtual_environment
from benchmarks.sharing import model_file
from benchmarks.sharing.requests import PROMPT, embedding_text, http_session
from benchmarks.sharing.servers import Client, Kind, Model, Reading, Refused, RunningServer, Server

REQUIREMENTS = ("xllamacpp==2026.10.11549",)
PROGRAM = Path(__file__).with_name("llama_server_process.py")
START_SECONDS = 60.0


class LlamaServer(Server):
    name = "llama-server"

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.lacks = {"models": "one model a process"}

    @asynccontextmanager
    async def running(self, *, newcomers: Model, holders: bool) -> AsyncIterator[RunningServer]:
        with tempfile.TemporaryDirectory(prefix="llama-server-") as folder:
            port, log = free_port(), Path(folder, "log")
            url = f"http://127.0.0.1:{port}"
            with self._process(port, Path(folder), log) as process:
                if not await _answers(url, process):
                    raise SystemExit(f"llama-server did not start:\n{log.read_text()[-2000:]}")
                yield RunningLlamaServer(self.slots, url)

    @contextmanager
    def _process(self, port: int, folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        python = virtual_environment("xllamacpp", REQUIREMENTS)
        model = model_file.write(folder / "pebble.gguf")
        threads = max(1, (os.cpu_count() or 1) - 1)  # as `llama_cpp` has by default
        sizes = map(str, (port, self.slots, model_file.CONTEXT, threads))
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(python), str(PROGRAM), str(model), *sizes],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()  # it would wait for clients that do not read
            process.wait()


async def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it answers that it is healthy; False if it does not."""
    deadline = time.monotonic() + START_SECONDS
    async with http_session() as http:
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(aiohttp.ClientError):
                async with http.get(f"{url}/health") as answer:
                    if answer.status == 200:
                        return True
            await asyncio.sleep(0.05)
    return False


class RunningLlamaServer(RunningServer):
    def __init__(self, slots: int, url: str) -> None:
        self.slots = slots
        self._url = url

    @asynccontextmanager
    async def client(
        self, model: Model, *, holder: str = "newcomer", reading: Reading = "always"
    ) -> AsyncIterator[Client]:
        async with http_session(small_buffers=reading != "always") as http:
            yield HttpClient(self._url, http)

    async def embed(self, in_flight: int, embedded: Callable[[], None]) -> None:
        texts = (embedding_text(number) for number in itertools.count())

        async def embed_in_turn(http: aiohttp.ClientSession) -> None:
            while True:
                body = {"content": next(texts)}
                async with http.post(f"{self._url}/embedding", json=body) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise Refused(f"/embedding: status {answer.status}")
                embedded()

        async with http_session() as http, asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(embed_in_turn(http))


class HttpClient(Client):
    """`POST /completion`, streamed; a connection for each answer."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http
        self._answer: aiohttp.ClientResponse | None = None
        self._rest = b""

    async def ask(self, tokens: int) -> None:
        request = {"prompt": PROMPT, "n_predict": tokens, "ignore_eos": True, "stream": True}
        self._answer = await self._http.post(f"{self._url}/completion", json=request)
        self._rest = b""

    async def read(self) -> list[Kind]:
        assert self._answer
        if self._answer.status != 200:
            self._answer.close()
            return ["refused"]
        data = await self._answer.content.readany()
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
        kinds: list[Kind] = ["end" if event.get("stop") else "chunk" for event in events]
        if "end" in kinds or not data:
            self._answer.close()  # an open connection would keep one of the server's threads
        return kinds or ([] if data else ["end"])
