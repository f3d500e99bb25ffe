"""How is a worker started and stopped, and how did it end? (supervisor's XML-RPC)

Restarting what crashed is supervisor's work and nobody else's; the gateway asks
it for one more process, for one less, and for what it saw of a death. Without
supervisor the gateway serves whichever workers announce themselves.
"""

import asyncio
import http.client
import logging
import re
import time
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from gateway.dispatch import NoWorker
from gateway.fleet import Worker
from gateway.programs import write_program
from gateway.settings import Settings
from protocol.rundir import supervisor_socket

log = logging.getLogger(__name__)

IDLE_STATES = {"STOPPED", "EXITED", "FATAL", "UNKNOWN"}
"""Of supervisor's process states those in which nothing runs and nothing is about to."""
POST_MORTEM_SECONDS = 0.06
"""What supervisor gets to notice a death before the clients are told without it."""
LOG_TAIL = 8192
GRACE = 5.0
"""Seconds after the start in which workers of an earlier gateway may still find this one."""
UNREACHABLE = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)


class Supervision:
    """Every method may be called whether supervisor runs or not."""

    def __init__(self, settings: Settings, run: Path) -> None:
        self._settings = settings
        self._run = run
        self._socket = supervisor_socket(run)
        self._since = time.monotonic()

    async def start_worker(self, binding: str) -> bool:
        """Start one process more; False when all there may be are running or starting.

        Raise NoWorker when there is no way to start one.
        """
        try:
            started: bool = await self._call(lambda server: self._start(server, binding))
            return started
        except UNREACHABLE:
            await asyncio.sleep(self._since + GRACE - time.monotonic())
            raise NoWorker(
                f"no worker of the binding {binding} is running; start one with "
                f"`python -m worker {binding}`"
            ) from None
        except xmlrpc.client.Fault as fault:
            raise NoWorker(
                f"the binding {binding} cannot be started: {fault.faultString}"
            ) from None

    async def stop_worker(self, worker: Worker) -> None:
        """Ask for its end and give its memory back; nothing happens when nobody supervises it."""
        try:
            await self._call(lambda server: self._stop(server, worker.pid))
        except (*UNREACHABLE, xmlrpc.client.Fault) as error:
            log.warning("worker %s could not be stopped: %s", worker.name, error)

    async def post_mortem(self, worker: Worker, how: str) -> str:
        """How it ended, as supervisor saw it; `how` where that cannot be known in time."""
        try:
            async with asyncio.timeout(POST_MORTEM_SECONDS):
                while True:
                    tail = await self._call(lambda s: s.supervisor.readLog(-LOG_TAIL, 0))
                    if ending := ending_of(worker.pid, tail):
                        return ending
                    await asyncio.sleep(0.005)
        except (*UNREACHABLE, TimeoutError, xmlrpc.client.Fault):
            return how

    def _start(self, server: Any, binding: str) -> bool:
        processes = self._processes(server, binding)
        if not processes:
            self._add(server, binding)
            processes = self._processes(server, binding)
        idle = [p for p in processes if p["statename"] in IDLE_STATES]
        if not idle:
            return False
        name = f"{binding}:{idle[0]['name']}"
        log.info("starting %s", name)
        try:
            return bool(server.supervisor.startProcess(name, False))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == Faults.ALREADY_STARTED:
                return True  # it had crashed, and supervisor was quicker
            raise

    def _add(self, server: Any, binding: str) -> None:
        """The binding's folder is newer than supervisor: make it known."""
        write_program(self._settings, self._run, binding)
        server.supervisor.reloadConfig()
        server.supervisor.addProcessGroup(binding)

    def _stop(self, server: Any, pid: int) -> None:
        for process in server.supervisor.getAllProcessInfo():
            if process["pid"] == pid:
                server.supervisor.stopProcess(f"{process['group']}:{process['name']}", False)

    @staticmethod
    def _processes(server: Any, binding: str) -> list[dict[str, Any]]:
        return [p for p in server.supervisor.getAllProcessInfo() if p["group"] == binding]

    async def _call(self, work: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(self._call_blocking, work)

    def _call_blocking(self, work: Callable[[Any], Any]) -> Any:
        """One connection a call: the transport is not made for threads."""
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            return work(xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport))
        finally:
            transport.close()


def ending_of(pid: int, log_tail: str) -> str:
    """What supervisor's log says of this process's end; "" when it says nothing yet.

    The log names a pid when it spawns a process, and only the process's name when it ends:

        spawned: 'echo_00' with pid 4711
        exited: echo_00 (terminated by SIGSEGV (core dumped); not expected)
    """
    spawned = re.search(rf"spawned: '([^']+)' with pid {pid}$", log_tail, re.MULTILINE)
    if not spawned:
        return ""
    name = re.escape(spawned[1])
    ended = re.search(
        rf"(?:exited|stopped|killed): {name} \((.+?)(?:; (?:not )?expected)?\)$",
        log_tail[spawned.end() :],
        re.MULTILINE,
    )
    if not ended:
        return ""
    how = ended[1].replace("terminated by ", "was killed by ").replace(" (core dumped)", "")
    status = re.fullmatch(r"exit status (\d+)", how)
    return f"ended with exit code {status[1]}" if status else how
