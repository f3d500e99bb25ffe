"""Start, stop and examine worker processes through supervisor.

supervisor restarts crashed processes; the gateway asks it to start or stop one, and how one
ended. Without supervisor the gateway serves the workers
that say Hello by themselves.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from supervisor.xmlrpc import Faults

from gateway.config.settings import Settings
from gateway.errors import NoWorker, StartFailed
from gateway.provisioning.post_mortem import ending_of, last_log_line, last_pid_of, name_of
from gateway.provisioning.supervisor_programs import (
    BadName,
    check_program_name,
    log_file,
    write_program,
)
from gateway.provisioning.supervisor_rpc import Fault, Unreachable, call_supervisor
from gateway.workers.process_watch import ProcessWatch
from gateway.workers.worker import Worker
from protocol.run_folder import supervisor_socket

log = logging.getLogger(__name__)
Result = TypeVar("Result")

NOT_RUNNING = {"STOPPED", "EXITED", "FATAL", "UNKNOWN"}
"""supervisor's states of processes that neither run nor are about to."""
BACKOFF_SECONDS = 15.0
"""Seconds without a start after supervisor gave a process up. Less than the dispatcher's
`RESTART`, which keeps a crash loop cheap."""
POST_MORTEM_SECONDS = 0.3
"""Limit of a post-mortem; after it, clients are told without its result. It usually takes
10 ms, on a busy machine longer."""
NOTICE_SECONDS = 2.0
"""Limit until supervisor notices a death that the gateway has seen."""
POLL_SECONDS = 0.005
"""Each call also wakes supervisor, which notices deaths only when its loop turns."""
LOG_TAIL_BYTES = 8192
JOIN_GRACE = 5.0
"""Seconds after the start in which workers of an earlier gateway may still find this one."""


class Supervisor:
    """Every method may be called whether supervisor runs or not."""

    def __init__(self, settings: Settings, run: Path) -> None:
        self._settings = settings
        self._run = run
        self._socket = supervisor_socket(run)
        self._began = time.monotonic()
        self._had_joined: deque[int] = deque(maxlen=100)
        """Pids of workers that joined before they died: their programs can start."""

    async def start_worker(
        self,
        binding: str,
        arrived: asyncio.Event | None = None,
        present: Collection[int] = (),
        insist: bool = False,
    ) -> bool:
        """See `WorkerProvider`. Without supervisor, raise NoWorker after JOIN_GRACE."""
        joined = None if arrived is None else present
        try:
            check_program_name(binding)
            pid = await self._request_start(binding, joined, insist)
        except Unreachable:
            await asyncio.sleep(self._began + JOIN_GRACE - time.monotonic())
            raise NoWorker(
                f"no worker of the binding {binding} is running; start one with "
                f"`python -m worker {binding}`"
            ) from None
        except (Fault, BadName) as error:
            reason = error.faultString if isinstance(error, Fault) else str(error)
            raise NoWorker(f"the binding {binding} cannot be started: {reason}") from None
        if pid and arrived and not await self._alive_until(arrived, pid):
            raise StartFailed(_cannot_start(binding, await self._ending(pid, "died")))
        return pid is not None

    async def _request_start(
        self, binding: str, joined: Collection[int] | None, insist: bool
    ) -> int | None:
        deadline = time.monotonic() + NOTICE_SECONDS
        while True:
            pid = await self._call(lambda server: self._start(server, binding, joined, insist))
            if pid not in self._had_joined or time.monotonic() > deadline:
                return pid
            await asyncio.sleep(POLL_SECONDS)  # dead, and supervisor has not noticed yet

    async def stop_worker(self, worker: Worker) -> bool:
        """See `WorkerProvider`. False also for a worker that supervisor has not started."""
        if worker.remote:
            return False
        try:
            stopping: bool = await self._call(lambda server: self._stop(server, worker))
            return stopping
        except (Unreachable, Fault) as error:
            log.debug("worker %s is not stopped: %s", worker.name, error)
            return False

    async def post_mortem(self, worker: Worker, how: str) -> str:
        """See `WorkerProvider`. With the line of its log that explains it, if there is one."""
        if worker.remote:
            return how
        self._had_joined.append(worker.pid)
        return await self._ending(worker.pid, how)

    async def programs(self) -> list[dict[str, Any]] | None:
        """See `WorkerProvider`. None without supervisor."""
        try:
            found: list[dict[str, Any]] = await self._call(self._listed)
            return found
        except (Unreachable, Fault):
            return None

    async def _ending(self, pid: int, how: str) -> str:
        try:
            async with asyncio.timeout(POST_MORTEM_SECONDS):
                while True:
                    if ending := await self._call(lambda server: self._death(server, pid)):
                        return ending
                    await asyncio.sleep(POLL_SECONDS)
        except (Unreachable, Fault, TimeoutError):
            return how

    async def _alive_until(self, arrived: asyncio.Event, pid: int) -> bool:
        died = asyncio.Event()
        watch = ProcessWatch(pid, died.set)
        waiting = [asyncio.ensure_future(each.wait()) for each in (arrived, died)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return arrived.is_set()
        finally:
            watch.stop()
            for each in waiting:
                each.cancel()

    # Run in a thread; `server` is the XML-RPC proxy.

    def _start(
        self, server: Any, binding: str, joined: Collection[int] | None, insist: bool
    ) -> int | None:
        """The pid of a process that is starting; None when all allowed ones are running."""
        processes = self._processes(server, binding)
        if not processes:
            write_program(self._settings, self._run, binding)
            server.supervisor.reloadConfig()  # the binding was added after supervisor's start
            server.supervisor.addProcessGroup(binding)
            processes = self._processes(server, binding)
        for process in processes:
            if process["statename"] == "BACKOFF":
                self._clear_backoff(server, process, insist)
                return self._start_now(server, process)
            if joined is not None and process["pid"] and process["pid"] not in joined:
                return int(process["pid"])
        idle = [process for process in processes if process["statename"] in NOT_RUNNING]
        if not idle:
            return None
        for process in idle:
            if process["statename"] == "FATAL":  # the others are the same program
                self._clear_backoff(server, process, insist)
        return self._start_now(server, idle[0])

    def _start_now(self, server: Any, process: dict[str, Any]) -> int:
        name = _full_name(process)
        log.info("starting %s", name)
        try:
            server.supervisor.startProcess(name, False)
        except Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise  # otherwise supervisor has restarted it just now
        return int(server.supervisor.getProcessInfo(name)["pid"])

    def _clear_backoff(self, server: Any, process: dict[str, Any], insist: bool) -> None:
        """Prepare a start, or raise StartFailed: supervisor waits, or gave up, because the last
        starts failed. A process that had joined may start at once: a request has killed it,
        not its start."""
        tail = server.supervisor.readLog(-LOG_TAIL_BYTES, 0)
        name, backing_off = process["name"], process["statename"] == "BACKOFF"
        pid = last_pid_of(name, tail)
        left_alone = BACKOFF_SECONDS - (process["now"] - process["stop"])
        spared = backing_off or left_alone > 0
        ending = ending_of(pid, tail, name)
        if pid and not ending:
            return  # the log is newer than the list: supervisor has just started it
        if spared and not insist and pid not in self._had_joined:
            how = self._with_log_line(name, ending, process["stop"])
            how = how or process["spawnerr"] or "died again and again"
            raise StartFailed(_cannot_start(process["group"], how))
        if backing_off:
            server.supervisor.stopProcess(_full_name(process), False)

    def _listed(self, server: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": process["name"],
                "binding": process["group"],
                "state": process["statename"],
                "pid": process["pid"],
                "since": process["now"] - (process["start" if process["pid"] else "stop"]),
                "error": process["spawnerr"],
            }
            for process in server.supervisor.getAllProcessInfo()
            if process["group"] != "gateway" and process["start"]  # the others were never needed
        ]

    def _stop(self, server: Any, worker: Worker) -> bool:
        for process in self._processes(server, worker.binding):
            if process["pid"] == worker.pid:
                return bool(server.supervisor.stopProcess(_full_name(process), False))
        return False

    def _death(self, server: Any, pid: int) -> str:
        """How the process ended, according to supervisor; "" when it has not noticed yet."""
        names = {p["pid"]: p["name"] for p in server.supervisor.getAllProcessInfo()}
        tail = server.supervisor.readLog(-LOG_TAIL_BYTES, 0)
        name = names.get(pid) or name_of(pid, tail)
        return self._with_log_line(name, ending_of(pid, tail, name), time.time())

    def _with_log_line(self, process: str, ending: str, when: float) -> str:
        words = last_log_line(log_file(self._settings, process), when) if ending else ""
        return f"{ending} (its last words: {words})" if words else ending

    @staticmethod
    def _processes(server: Any, binding: str) -> list[dict[str, Any]]:
        return [p for p in server.supervisor.getAllProcessInfo() if p["group"] == binding]

    async def _call(self, work: Callable[[Any], Result]) -> Result:
        return await asyncio.to_thread(call_supervisor, self._socket, work)


def _full_name(process: dict[str, Any]) -> str:
    return f"{process['group']}:{process['name']}"


def _cannot_start(binding: str, how: str) -> str:
    return f"the binding {binding} cannot be started: its worker {how}"
