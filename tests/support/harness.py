"""Starts gateways, workers and Socket.IO clients for tests."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import socketio

from gateway.provisioning.supervisor_rpc import call_supervisor
from protocol.run_folder import run_folder, supervisor_socket

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
"""Seconds after which a test gives up; much longer than anything takes."""

Event = tuple[str, Any]


def run(coroutine: Coroutine[Any, Any, Any], seconds: float = 50) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, seconds))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Poll until the condition is true: a state of another process cannot be awaited."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen in {seconds:g} s")
        time.sleep(0.02)
    return answer


class Home:
    """A server's home in a temporary folder, and the processes that use it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = settings
        self.headers: dict[str, str] = {}
        """Sent with every HTTP request, for example a token."""
        self.trust: ssl.SSLContext | None = None
        """For a server with TLS; the test has to change `url`, too."""
        self.processes: list[subprocess.Popen[bytes]] = []
        (folder / "logs").mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LOLLMS_")}
        ours = {"home": str(self.folder), "port": str(self.port), **self.settings}
        return {**clean, **{f"LOLLMS_{name.upper()}": value for name, value in ours.items()}}

    def start(self, *command: str, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def gateway(self, *flags: str) -> subprocess.Popen[bytes]:
        process = self.start(sys.executable, "-m", "gateway", *flags, name="gateway")
        until(lambda: process.poll() is not None or self.http("/health")[0] == 200, "the start")
        assert process.poll() is None, self.log("gateway")
        return process

    def worker(self, binding: str, *flags: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "worker", binding, *flags]
        return self.start(*command, name=f"worker-{binding}")

    def start_plain(self, module: str) -> subprocess.Popen[bytes]:
        return self.start(sys.executable, "-m", module, name=module)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start as `make run` does: supervisor, gateway and workers on demand."""
        process = self.start(sys.executable, "-m", "gateway.launch", name="launch")
        until(lambda: process.poll() is not None or self.http("/ready")[0] == 200, "the launch", 30)
        assert process.poll() is None, self.log("launch") + self.log("gateway")
        return process

    def supervised_pids(self) -> dict[str, int]:
        """Process name to pid, as supervisor reports them."""
        path = supervisor_socket(run_folder(self.folder))
        processes = call_supervisor(path, lambda server: server.supervisor.getAllProcessInfo())
        return {process["name"]: process["pid"] for process in processes if process["pid"]}

    def gateway_pid(self) -> int:
        return self.supervised_pids()["gateway"]

    def worker_pids(self) -> list[int]:
        return [pid for name, pid in self.supervised_pids().items() if name != "gateway"]

    def kill(self, pid: int, number: int) -> None:
        """Send a signal to a process that this home's supervisor has started."""
        assert pid in self.supervised_pids().values()
        os.kill(pid, number)

    def http(self, path: str) -> tuple[int, str]:
        status, body = self.http_bytes(path)
        return status, body.decode()

    def http_bytes(self, path: str) -> tuple[int, bytes]:
        """Status 0 if there is no answer. `path` is unquoted, as in an `avatar` field."""
        url = self.url + urllib.parse.quote(path, safe="/%")
        try:
            request = urllib.request.Request(url, headers=self.headers)
            with urllib.request.urlopen(request, timeout=5, context=self.trust) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def ready(self) -> None:
        until(lambda: self.http("/ready")[0] == 200, f"ready ({self.http('/ready')})")

    def log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def home(folder: Path, **settings: str) -> Iterator[Home]:
    opened = Home(folder, **settings)
    try:
        yield opened
    finally:
        opened.stop()


class Client:
    """A python-socketio client that records every event in order."""

    def __init__(self, http: aiohttp.ClientSession | None = None) -> None:
        self.sio = socketio.AsyncClient(reconnection=False, http_session=http)
        self.events: list[Event] = []
        self._read = 0
        self._news = asyncio.Condition()
        self._greeted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sio.on("*", self._on_any)

    async def _on_any(self, event: str, *data: Any) -> None:
        if event == "session":  # comes once; most tests do not need it
            return self._greeted.set_result(data[0]) if not self._greeted.done() else None
        async with self._news:
            self.events.append((event, data[0] if data else None))
            self._news.notify_all()

    async def greeting(self) -> Any:
        """The payload of the event `session`."""
        return await asyncio.wait_for(asyncio.shield(self._greeted), PATIENCE)

    async def emit(self, event: str, *arguments: Any) -> None:
        await self.sio.emit(event, arguments or None)

    async def next(self, *names: str) -> Event:
        """The next event with one of these names; events before it are skipped."""
        async with asyncio.timeout(PATIENCE), self._news:
            while True:
                while self._read < len(self.events):
                    event = self.events[self._read]
                    self._read += 1
                    if not names or event[0] in names:
                        return event
                await self._news.wait()

    async def reply(self, name: str) -> Any:
        return (await self.next(name))[1]

    async def ask(self, event: str, *arguments: Any, reply: str) -> Any:
        await self.emit(event, *arguments)
        return await self.reply(reply)

    async def until(self, *names: str) -> list[Event]:
        """All events up to and including the next with one of these names."""
        events = [await self.next()]
        while events[-1][0] not in names:
            events.append(await self.next())
        return events

    async def generate(self, prompt: str, **fields: Any) -> list[Event]:
        await self.emit("generate_text", {"prompt": prompt, **fields})
        return await self.until("text_generated", "generation_error", "buzzy")

    async def settle(self) -> list[Event]:
        """All unread events; a round trip makes sure that no earlier one is still on its way."""
        await self.emit("list_active_personalities")
        return (await self.until("active_personalities_list"))[:-1]


@contextlib.asynccontextmanager
async def client(
    server: Home, http: aiohttp.ClientSession | None = None, **options: Any
) -> AsyncIterator[Client]:
    connected = Client(http)
    await connected.sio.connect(server.url, **{"transports": ["websocket"], **options})
    try:
        yield connected
    finally:
        await connected.sio.disconnect()


def names(events: list[Event]) -> list[str]:
    return [name for name, _ in events]


def chunks(events: list[Event]) -> str:
    return "".join(data["chunk"] for name, data in events if name == "text_chunk")
