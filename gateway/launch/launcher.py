"""The launcher: run supervisor as a child process, and end everything that it started."""

import os
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.config.settings import Settings
from gateway.errors import CannotStart
from gateway.launch.console import Console
from gateway.launch.orphans import OrphanedGroups, become_subreaper, end_children
from gateway.launch.preparation import accepts_connections
from gateway.provisioning.supervisor_rpc import Fault, Unreachable, call_supervisor
from gateway.storage.run_lock import run_lock
from protocol.parent_death import die_with_parent
from protocol.run_folder import CHECKOUT, supervisor_key, supervisor_socket

EXTRA_STOP_SECONDS = 10.0
"""Time for supervisor to stop, in addition to the gateway's `drain_limit`."""
ORPHANS_GRACE = 3.0
REPEATED_TERM_SECONDS = 0.5
"""A second SIGTERM within this time is the same one: a process group gets it directly and
from make."""
CHECK_SECONDS = 2.0
EXPECTED_EXIT_CODES = (0, 2)
"""Exit codes of the gateway after which supervisor does not restart it."""


class Launcher:
    """Owns the supervisor process, and inherits its children when it is killed."""

    def __init__(self, settings: Settings, run: Path, port: int, token: str) -> None:
        self._settings = settings
        self._run = run
        self._socket = supervisor_socket(run)
        self._console = Console(settings, port, token)
        self._stop_at = 0.0
        self._kill_now = False
        self._wakeup_read, self._wakeup_write = os.pipe()
        for end in (self._wakeup_read, self._wakeup_write):
            os.set_blocking(end, False)

    def run(self, environment: dict[str, str]) -> int:
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop_on)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that a death wakes us
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # of a model: gigabytes, and prompts
        become_subreaper()
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord",
             "-c", str(CHECKOUT / "supervisord.conf")],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: we stop the others in order
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread has been started
        )  # fmt: skip
        try:
            self._console.starting()
            return self._serve()
        finally:
            self._stop()

    def _serve(self) -> int:
        """Run until a signal, which returns 0, or a failure, which returns 1."""
        if self._until_up():
            self._console.welcome()
            orphans = OrphanedGroups(self._supervisor.pid)
            while self._alive and not self._stop_at:
                if _given_up(self._gateway()):
                    self._console.failed("the gateway ended and supervisor gave it up")
                    return 1
                if ended := orphans.end():
                    self._console.ended_orphans(ended)
                self._pause(CHECK_SECONDS)
        if not self._stop_at and not self._alive:
            self._console.failed(f"supervisor ended ({self._supervisor.returncode})")
        return 0 if self._stop_at else 1

    def _until_up(self) -> bool:
        """Wait until the server is up. Return False when it failed, or a signal came."""
        first = 0
        while self._alive and not self._stop_at:
            gateway = self._gateway()
            first = first or gateway.get("pid", 0)
            again = gateway.get("statename") == "BACKOFF" or gateway.get("pid", first) != first
            if _given_up(gateway) or (again and not self._console.answered):
                self._console.failed(self._console.last_line())
                return False
            if self._console.is_up():
                return True
            self._pause(0.05)
        return False

    @property
    def _alive(self) -> bool:
        return self._supervisor.poll() is None

    def _gateway(self) -> dict[str, Any]:
        """supervisor's entry of the gateway. The call also wakes its loop, which turns once a
        second."""
        try:
            answer = call_supervisor(self._socket, lambda s: s.supervisor.getProcessInfo("gateway"))
            return dict(answer)
        except (Unreachable, Fault):
            return {}

    def _pause(self, seconds: float) -> None:
        """Sleep, until a signal comes or a child dies."""
        if select.select([self._wakeup_read], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self._wakeup_read, 1024)

    def _stop_on(self, number: int, _: object) -> None:
        now = time.monotonic()
        if not self._stop_at:
            self._stop_at = now
        elif number == signal.SIGINT or now - self._stop_at > REPEATED_TERM_SECONDS:
            self._kill_now = True

    def _stop(self) -> None:
        if self._alive:
            self._console.stopping()
            self._supervisor.terminate()
        limit = self._settings.drain_limit + EXTRA_STOP_SECONDS
        deadline = time.monotonic() + limit
        while self._alive and not self._kill_now and time.monotonic() < deadline:
            accepts_connections(self._socket)
            self._pause(0.05)
        if self._alive:
            self._supervisor.kill()
        self._supervisor.wait()
        end_children(0.0 if self._kill_now else ORPHANS_GRACE)
        for left in (self._socket, supervisor_key(self._run), self._run / "supervisord.pid"):
            left.unlink(missing_ok=True)
        with suppress(CannotStart), run_lock(self._run):
            pass  # removes the files of a killed gateway
        self._console.stopped()


def _given_up(gateway: dict[str, Any]) -> bool:
    state = gateway.get("statename")
    return state == "FATAL" or (state == "EXITED" and gateway["exitstatus"] in EXPECTED_EXIT_CODES)
