"""Start our gateway and its peers, and measure their processor time and memory."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import lollms_server
from benchmarks.peer_builds import virtual_environment
from protocol.run_folder import CHECKOUT

SERVER_CORE, OTHER_CORE = 0, 1
"""One core for the gateway alone, the other for worker and clients."""
FLASK_REQUIREMENTS = (
    "flask==3.0.3", "werkzeug==3.0.6", "flask-socketio==5.5.1", "eventlet==0.40.3",
    "simple-websocket==1.1.0",
)  # fmt: skip


def flask_python() -> Path:
    """The Python of a virtual environment with Flask-SocketIO and eventlet."""
    return virtual_environment("flask-socketio", FLASK_REQUIREMENTS)


class Server:
    """A server under test that listens, with its worker if it has one."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[str]) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.process = process
        self.worker: subprocess.Popen[str] | None = None

    @property
    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024

    def pids(self) -> list[int]:
        return [self.process.pid, *([self.worker.pid] if self.worker else [])]


def cpu_seconds(pid: int) -> float:
    """Of all threads of a process, from the scheduler's nanoseconds, not from ticks."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def cpu_by_process() -> dict[int, float]:
    """Seconds of processor time of each process of this machine. /proc/stat is not accurate
    enough: it counts ticks, and processes that ticks wake up are counted too often."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has just ended
            found[int(folder.name)] = cpu_seconds(int(folder.name))
    return found


def steal_seconds() -> float:
    """Processor time that the hypervisor gave to other machines (steal in /proc/stat)."""
    ticks = int(Path("/proc/stat").read_text().splitlines()[0].split()[8])
    return ticks / os.sysconf("SC_CLK_TCK")


def start(core: int, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        list(map(str, command)), cwd=CHECKOUT, text=True, stdin=subprocess.PIPE,
        **{"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options},
    )  # fmt: skip
    os.sched_setaffinity(started.pid, {core % (os.cpu_count() or 1)})
    return started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[str], name: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{name} does not listen")


@contextmanager
def running(name: str) -> Iterator[Server]:
    """A server by name: `ours`, `ours, library transport`, `default`, `original` (the original's
    stack), `lollms` (the original itself) or `bare`."""
    port = free_port()
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        log = stack.enter_context((home / "server.log").open("w"))
        output: dict[str, Any] = {"stderr": log, "stdout": log}
        if name == "default":
            command: list[str | Path] = [sys.executable, "-m", "benchmarks.gateway.naive_gateway"]
            process = start(SERVER_CORE, *command, str(port), home, **output)
        elif name == "bare":
            process = start(
                SERVER_CORE, sys.executable, "-m", "benchmarks.gateway.bare_websocket", str(port)
            )
        elif name == "original":
            script = CHECKOUT / "benchmarks" / "gateway" / "flask_server.py"
            output["stdout"] = subprocess.PIPE
            process = start(SERVER_CORE, flask_python(), script, str(port), **output)
        elif name == "lollms":
            lollms_server.prepare(home)
            process = lollms_server.start(home, port, stderr=log, stdout=subprocess.PIPE)
            os.sched_setaffinity(process.pid, {SERVER_CORE})
        else:
            direct = "no" if "library transport" in name else "yes"
            flags = [
                f"--home={home}", f"--port={port}", "--binding_name=echo", "--model_name=lorem",
                "--max_queue=1000", f"--direct_writes={direct}",
            ]  # fmt: skip
            process = start(SERVER_CORE, sys.executable, "-m", "gateway", *flags, **output)
        stack.callback(end, process)
        wait_for(port, process, name, seconds=60)
        server = Server(name, port, process)
        if name not in ("bare", "original", "lollms"):
            mode = "tokens" if name == "default" else "steps"
            server.worker = start(
                OTHER_CORE, sys.executable, "-m", "benchmarks.gateway.fake_worker", home, mode,
                stdout=subprocess.PIPE,
            )  # fmt: skip
            stack.callback(end, server.worker)
            time.sleep(1.0)
        yield server


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
