"""The faults to inject. Signals go only to pids that the server's own /status reports."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import zmq

from benchmarks.chaos.users import Oracle, Task, User
from benchmarks.end_to_end import Server
from protocol.run_folder import run_folder, workers_address


@dataclass(frozen=True, slots=True)
class WorkerFault:
    """A signal that was sent to a worker."""

    kind: str
    binding: str
    at: float


class FaultInjector:
    """The server under test, and the random choices of faults."""

    def __init__(self, server: Server, oracle: Oracle, random: Random) -> None:
        self.server = server
        self.oracle = oracle
        self.random = random
        self.worker_faults: list[WorkerFault] = []

    async def status(self) -> dict[str, Any]:
        body = await asyncio.to_thread(self.server.read, "/status")
        answer: dict[str, Any] = json.loads(body or b"{}")
        return answer

    async def signal_worker(self, kind: str, number: int, binding: str = "") -> None:
        """Send a signal to a random worker that holds a model."""
        workers = [
            worker
            for worker in (await self.status()).get("workers", [])
            if worker["state"] in ("busy", "idle") and binding in ("", worker["binding"])
        ]
        if workers:
            worker = self.random.choice(workers)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker["pid"], number)
                self.worker_faults.append(WorkerFault(kind, worker["binding"], time.monotonic()))


async def break_by_prompt(injector: FaultInjector, prompt: str) -> None:
    """A prompt that breaks its worker, sent to the binding `faulty`, which no user selects."""
    words = injector.random.randint(0, 20)
    task = Task("faulty", "any", prompt.format(words, injector.random.randint(0, 2**31)), 40, 1)
    user = User(injector.server.port, injector.oracle, [task], str(words))
    await user.connect()
    injector.oracle.judge(await user.generate(task))
    await user.disconnect()


async def vanish(injector: FaultInjector) -> None:
    """A client that drops its connection in the middle of an answer."""
    task = Task("echo", "lorem-10ms", "gone", 1000, 1)
    async with aiohttp.ClientSession() as http:
        url = f"ws://127.0.0.1:{injector.server.port}/socket.io/?EIO=4&transport=websocket"
        async with http.ws_connect(url) as websocket:
            await websocket.send_str("40")
            await websocket.send_str("42" + json.dumps(["generate_text", task.request()]))
            async with asyncio.timeout(10):
                while "text_chunk" not in str((await websocket.receive()).data):
                    pass
            assert websocket._response.connection and websocket._response.connection.transport
            websocket._response.connection.transport.abort()


async def send_garbage(injector: FaultInjector) -> None:
    """Unknown events and malformed frames from a client."""
    async with aiohttp.ClientSession() as http:
        url = f"ws://127.0.0.1:{injector.server.port}/socket.io/?EIO=4&transport=websocket"
        # The server may close the connection at once, which is a valid response.
        with contextlib.suppress(aiohttp.ClientError):
            websocket = await http.ws_connect(url)
            await websocket.send_str("40")
            for _ in range(50):
                junk = injector.random.randbytes(20).hex()
                await websocket.send_str(
                    injector.random.choice((f'42["{junk}"]', f"4{junk}", junk))
                )


async def send_garbage_as_worker(injector: FaultInjector) -> None:
    """Malformed messages on the workers' socket."""
    address = workers_address(run_folder(injector.server.home))
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 200
        peer.connect(address)
        for _ in range(50):
            peer.send_multipart(
                [injector.random.randbytes(injector.random.randint(0, 60))]
                * injector.random.randint(1, 3)
            )


async def connect_without_data(injector: FaultInjector) -> None:
    """Connections that are closed without sending anything."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", injector.server.port), 5):
            pass


FAULTS: dict[str, Callable[[FaultInjector], Awaitable[None]]] = {
    "SIGKILL to a worker": lambda injector: injector.signal_worker("killed", signal.SIGKILL),
    "SIGSEGV to a worker": lambda injector: injector.signal_worker("killed", signal.SIGSEGV),
    "SIGABRT to a worker": lambda injector: injector.signal_worker("killed", signal.SIGABRT),
    "SIGSTOP to a worker": lambda injector: injector.signal_worker("frozen", signal.SIGSTOP),
    "segmentation fault by a prompt": lambda injector: break_by_prompt(injector, "segfault@{} {}"),
    "exit by a prompt": lambda injector: break_by_prompt(injector, "exit@{} {}"),
    "endless loop by a prompt": lambda injector: break_by_prompt(injector, "loop@{} {}"),
    "native hang by a prompt": lambda injector: break_by_prompt(injector, "hang@{} {}"),
    "exception by a prompt": lambda injector: break_by_prompt(injector, "raise@{} {}"),
    "a child that outlives its worker": lambda injector: break_by_prompt(injector, "fork@{} {}"),
    "a client vanishes": vanish,
    "a client sends garbage": send_garbage,
    "a peer sends garbage to the workers' socket": send_garbage_as_worker,
    "connections without data": connect_without_data,
}


def descriptors(pid: int) -> int:
    """Open file descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
