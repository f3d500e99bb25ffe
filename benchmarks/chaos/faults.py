"""What goes wrong, and to whom? Only pids that the server's own /status told are ever hit."""

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
class Hit:
    """A worker's end that was our doing."""

    kind: str
    binding: str
    at: float


class World:
    """The server under test and the source of chance."""

    def __init__(self, server: Server, oracle: Oracle, draw: Random) -> None:
        self.server = server
        self.oracle = oracle
        self.draw = draw
        self.hits: list[Hit] = []

    async def status(self) -> dict[str, Any]:
        body = await asyncio.to_thread(self.server.read, "/status")
        answer: dict[str, Any] = json.loads(body or b"{}")
        return answer

    async def strike(self, kind: str, number: int, binding: str = "") -> None:
        """A signal to some worker that holds a model."""
        workers = [
            worker
            for worker in (await self.status()).get("workers", [])
            if worker["state"] in ("busy", "idle") and binding in ("", worker["binding"])
        ]
        if workers:
            worker = self.draw.choice(workers)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker["pid"], number)
                self.hits.append(Hit(kind, worker["binding"], time.monotonic()))


async def break_by_prompt(world: World, prompt: str) -> None:
    """A user of the binding `faulty`, whose prompt breaks its worker; others stay away from it."""
    words = world.draw.randint(0, 20)
    task = Task("faulty", "any", prompt.format(words, world.draw.randint(0, 2**31)), 40, 1)
    user = User(world.server.port, world.oracle, [task], str(words))
    await user.come()
    world.oracle.judge(await user.ask(task))
    await user.leave()


async def vanish(world: World) -> None:
    """A client that leaves in the middle of its answer, without a word."""
    task = Task("echo", "lorem-10ms", "gone", 1000, 1)
    async with aiohttp.ClientSession() as http:
        url = f"ws://127.0.0.1:{world.server.port}/socket.io/?EIO=4&transport=websocket"
        async with http.ws_connect(url) as websocket:
            await websocket.send_str("40")
            await websocket.send_str("42" + json.dumps(["generate_text", task.request()]))
            async with asyncio.timeout(10):
                while "text_chunk" not in str((await websocket.receive()).data):
                    pass
            assert websocket._response.connection and websocket._response.connection.transport
            websocket._response.connection.transport.abort()


async def babble(world: World) -> None:
    """Events that mean nothing, and frames that are none."""
    async with aiohttp.ClientSession() as http:
        url = f"ws://127.0.0.1:{world.server.port}/socket.io/?EIO=4&transport=websocket"
        # The server may end it at once, which is an answer, too.
        with contextlib.suppress(aiohttp.ClientError):
            websocket = await http.ws_connect(url)
            await websocket.send_str("40")
            for _ in range(50):
                junk = world.draw.randbytes(20).hex()
                await websocket.send_str(world.draw.choice((f'42["{junk}"]', f"4{junk}", junk)))


async def forge(world: World) -> None:
    """Garbage where workers talk."""
    address = workers_address(run_folder(world.server.home))
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 200
        stranger.connect(address)
        for _ in range(50):
            stranger.send_multipart(
                [world.draw.randbytes(world.draw.randint(0, 60))] * world.draw.randint(1, 3)
            )


async def knock(world: World) -> None:
    """Connections that say nothing and go."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", world.server.port), 5):
            pass


FAULTS: dict[str, Callable[[World], Awaitable[None]]] = {
    "SIGKILL to a worker": lambda world: world.strike("killed", signal.SIGKILL),
    "SIGSEGV to a worker": lambda world: world.strike("killed", signal.SIGSEGV),
    "SIGABRT to a worker": lambda world: world.strike("killed", signal.SIGABRT),
    "SIGSTOP to a worker": lambda world: world.strike("frozen", signal.SIGSTOP),
    "segmentation fault by a prompt": lambda world: break_by_prompt(world, "segfault@{} {}"),
    "exit by a prompt": lambda world: break_by_prompt(world, "exit@{} {}"),
    "endless loop by a prompt": lambda world: break_by_prompt(world, "loop@{} {}"),
    "native hang by a prompt": lambda world: break_by_prompt(world, "hang@{} {}"),
    "exception by a prompt": lambda world: break_by_prompt(world, "raise@{} {}"),
    "a child that outlives its worker": lambda world: break_by_prompt(world, "fork@{} {}"),
    "a client vanishes": vanish,
    "a client babbles": babble,
    "a stranger among the workers": forge,
    "connections that say nothing": knock,
}


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
