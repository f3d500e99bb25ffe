"""How are our gateway and its peers started, and what do they use of the machine?"""

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

from benchmarks import lollms_server as original_server
from benchmarks.peer_builds import cache
from protocol.run_folder import CHECKOUT

SERVER_CORE, OTHER_CORE = 0, 1
"""One for the gateway alone, the other for worker and clients."""
ORIGINAL_NEEDS = (
    "flask==3.0.3", "werkzeug==3.0.6", "flask-socketio==5.5.1", "eventlet==0.40.3",
    "simple-websocket==1.1.0",
)  # fmt: skip


def original_python() -> Path:
    """The interpreter of an environment with Flask-SocketIO and eventlet; made when it is not."""
    folder = cache() / "flask-socketio"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists() or ready.read_text() != str(ORIGINAL_NEEDS):
        print("installing Flask-SocketIO and eventlet, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", *ORIGINAL_NEEDS],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
        ready.write_text(str(ORIGINAL_NEEDS))
    return python


class Stack:
    """A server that listens, and perhaps its worker."""

    def __init__(self, name: str, port: int, server: subprocess.Popen[str]) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.server = server
        self.worker: subprocess.Popen[str] | None = None

    @property
    def cpu(self) -> float:
        return cpu_seconds(self.server.pid)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        lines = Path(f"/proc/{self.server.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024

    def pids(self) -> list[int]:
        return [self.server.pid, *([self.worker.pid] if self.worker else [])]


def cpu_seconds(pid: int) -> float:
    """Of all threads of a process, as the scheduler counts: nanoseconds, not ticks."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def everybody() -> dict[int, float]:
    """Seconds of processor time of each process of this machine. The sum of /proc/stat would
    not do: it counts ticks, and what is woken by ticks is counted too often."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            found[int(folder.name)] = cpu_seconds(int(folder.name))
    return found


def stolen() -> float:
    """Seconds of processor time that this machine was to have and did not get."""
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


def wait_for(port: int, server: subprocess.Popen[str], name: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{name} does not listen")


@contextmanager
def stack(name: str) -> Iterator[Stack]:
    """`ours`, `ours, ordinary`, `default`, `original` (its stack), `lollms` (itself) or `bare`."""
    port = free_port()
    home = Path(tempfile.mkdtemp(prefix="bench-"))
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, home, ignore_errors=True)
        log = ending.enter_context((home / "server.log").open("w"))
        output: dict[str, Any] = {"stderr": log, "stdout": log}
        if name == "default":
            command: list[str | Path] = [sys.executable, "-m", "benchmarks.gateway.naive_gateway"]
            server = start(SERVER_CORE, *command, str(port), home, **output)
        elif name == "bare":
            server = start(
                SERVER_CORE, sys.executable, "-m", "benchmarks.gateway.bare_websocket", str(port)
            )
        elif name == "original":
            script = CHECKOUT / "benchmarks" / "gateway" / "flask_server.py"
            output["stdout"] = subprocess.PIPE
            server = start(SERVER_CORE, original_python(), script, str(port), **output)
        elif name == "lollms":
            original_server.prepare(home)
            server = original_server.start(home, port, stderr=log, stdout=subprocess.PIPE)
            os.sched_setaffinity(server.pid, {SERVER_CORE})
        else:
            flags = [
                f"--home={home}", f"--port={port}", "--binding_name=echo", "--model_name=lorem",
                "--max_queue=1000", f"--direct_writes={'no' if 'ordinary' in name else 'yes'}",
            ]  # fmt: skip
            server = start(SERVER_CORE, sys.executable, "-m", "gateway", *flags, **output)
        ending.callback(end, server)
        wait_for(port, server, name, seconds=60)
        made = Stack(name, port, server)
        if name not in ("bare", "original", "lollms"):
            mode = "tokens" if name == "default" else "steps"
            made.worker = start(
                OTHER_CORE, sys.executable, "-m", "benchmarks.gateway.fake_worker", home, mode,
                stdout=subprocess.PIPE,
            )  # fmt: skip
            ending.callback(end, made.worker)
            time.sleep(1.0)
        yield made


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
