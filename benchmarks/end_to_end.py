"""Measure throughput from worker to client, memory use and start time of the whole server.

`make benchmarks` starts the real server in a temporary home and counts chunks at real
websockets. Rounds with one client and with many alternate; the median counts. The load
generator shares the machine with the server, as a browser on the same machine would.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from protocol.run_folder import CHECKOUT

START_SECONDS = 60.0


class Throughput(NamedTuple):
    """Totals or rates. A chunk is an event; tokens that wait for a slow client share one."""

    chunks: float
    tokens: float


class Server:
    """The server as `make run` starts it, in the given home, on a free port."""

    def __init__(
        self, home: Path, binding: str, model: str, *, token: str = "", **settings: str
    ) -> None:
        """`token`: one that the server knows, if it wants tokens."""
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.home = home
        self._environment = {
            **os.environ,
            "LOLLMS_HOME": str(home),
            "LOLLMS_PORT": str(self.port),
            "LOLLMS_BINDING_NAME": binding,
            "LOLLMS_MODEL_NAME": model,
            **{f"LOLLMS_{name.upper()}": value for name, value in settings.items()},
        }

    @contextmanager
    def running(self) -> Iterator[float]:
        """Yields the seconds from the start until it is ready."""
        started = time.monotonic()
        with (self.home / "launch.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway.launch"], cwd=CHECKOUT, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            while not self._ready():
                if process.poll() is not None or time.monotonic() - started > START_SECONDS:
                    raise SystemExit((self.home / "launch.log").read_text())
                time.sleep(0.01)
            yield time.monotonic() - started
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(40)

    def _ready(self) -> bool:
        return self.read("/ready") is not None

    def read(self, path: str) -> bytes | None:
        """The body; None without an answer, or if its status is not 200."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers=self._headers
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as got:
                return bytes(got.read()) if got.status == 200 else None
        except OSError:
            return None

    def memory(self) -> dict[str, float]:
        """MiB per process (PSS): memory that processes share is divided among them."""
        sizes = {}
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes().decode().split("\0")
                environment = (entry / "environ").read_bytes().decode(errors="replace")
                if f"LOLLMS_HOME={self.home}\0" not in environment or "-m" not in command:
                    continue
                rollup = (entry / "smaps_rollup").read_text()
            except (OSError, UnicodeDecodeError):
                continue
            pss = next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))
            sizes[" ".join(command[2:4]).strip()] = int(pss) / 1024
        return sizes


async def stream(session: aiohttp.ClientSession, port: int, tokens: int) -> Throughput:
    """Generate on one connection, with plain Engine.IO packets; returns the totals."""
    url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    request = ["generate_text", {"prompt": "x", "personality": -1, "n_predicts": tokens}]
    chunks = 0
    async with session.ws_connect(url, max_msg_size=0) as client:
        await client.receive_str()
        await client.send_str("40")
        await client.receive_str()
        await client.send_str("42" + json.dumps(request))
        async for message in client:
            if message.data.startswith('42["text_chunk"'):
                chunks += 1
            elif message.data == "2":
                await client.send_str("3")
            elif message.data.startswith("42") and not message.data.startswith('42["session"'):
                event, end = json.loads(message.data[2:])
                assert event == "text_generated", message.data[:200]
                return Throughput(chunks, end["tokens"])
    raise AssertionError("the connection was closed")


async def rate(port: int, clients: int, tokens: int) -> Throughput:
    """Chunks and tokens per second of all clients together."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        started = time.monotonic()
        results = await asyncio.gather(*(stream(session, port, tokens) for _ in range(clients)))
        took = time.monotonic() - started
    return Throughput(sum(f.chunks for f in results) / took, sum(f.tokens for f in results) / took)


def measure(rounds: int, tokens: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as home:
        server = Server(Path(home), "echo", "lorem")
        with server.running():
            one, many = [], []
            for _ in range(rounds):
                one.append(asyncio.run(rate(server.port, 1, tokens)))
                many.append(asyncio.run(rate(server.port, 64, tokens // 32)))
            for clients, results in (("1 client", one), ("64 clients together", many)):
                for name in ("chunks", "tokens"):
                    median = statistics.median(getattr(result, name) for result in results)
                    yield f"| {name}/s, {clients} | {median:,.0f} |"
    starts = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            server = Server(Path(home), "llama_cpp", "pebble-f16.gguf")
            with server.running() as seconds:
                starts.append(seconds)
                memory = server.memory()
    for process, size in sorted(memory.items()):
        yield f"| memory of `python -m {process}`, idle, MiB | {size:.0f} |"
    yield f"| start to ready, embedded model loaded, seconds | {statistics.median(starts):.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds per figure")
    parser.add_argument(
        "--tokens", type=int, default=20_000, help="tokens generated for one client"
    )
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}\n\n| figure | median |\n|---|---|"
    )
    for line in measure(options.rounds, options.tokens):
        print(line, flush=True)


if __name__ == "__main__":
    main()
