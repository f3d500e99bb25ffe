"""How does one command bring everything up, and take everything down? `make run`

It prepares the home, runs supervisor as its child, says when the server is
ready, and stays in the foreground. Whatever ends it, nothing stays behind.
"""

import argparse
import os
import resource
import select
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.config.settings import Settings, load_settings
from gateway.errors import BadSetting, CannotStart
from gateway.launch.console import Progress
from gateway.launch.orphans import Leaderless, adopt, end_all
from gateway.launch.preparation import answers, known, lay, sole_launcher, variables
from gateway.provisioning.supervisor_rpc import Refusal, Unreachable, ask
from gateway.security.access import open_access
from gateway.security.tls import server_context
from gateway.storage.run_lock import claimed
from protocol.parent_death import die_with_parent
from protocol.run_folder import CHECKOUT, supervisor_key, supervisor_socket

MORE_THAN_SUPERVISOR = 10.0
"""Seconds that it gets beyond those that it gives the gateway."""
ORPHANS_GRACE = 3.0
ANOTHER_TERM = 0.5
"""Seconds. SIGTERM to a whole group comes twice: make passes its own on."""
BETWEEN_LOOKS = 2.0
EXPECTED = (0, 2)
"""Of the gateway's exit codes those after which supervisor leaves it alone."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.launch",
        description="Run the whole server in the foreground: supervisor, gateway and workers. "
        "Settings come from LOLLMS_<NAME> variables and the config file; "
        "`python -m gateway --help` lists them.",
    )
    parser.add_argument(
        "--environment", action="store_true",
        help="only prepare the home, and print what supervisord.conf needs, as shell commands",
    )  # fmt: skip
    options = parser.parse_args()
    os.umask(0o077)  # what is written here is nobody else's to read
    try:
        settings = load_settings([], os.environ)
        access, _ = open_access(settings), server_context(settings)
        run, port = lay(settings)
        with sole_launcher(run):
            needed = variables(settings, run, port)
            if options.environment:
                for name, value in needed.items():
                    print(f"export {name}={shlex.quote(value)}")
                return 0
            return Launcher(settings, run, port, access.own).run({**known(os.environ), **needed})
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"cannot start: {error.strerror or error}{where}", file=sys.stderr)
    except (BadSetting, CannotStart) as error:
        print(f"cannot start: {error}", file=sys.stderr)
    return 1


class Launcher:
    """Owns the supervisor process, and inherits what that leaves behind when it is killed."""

    def __init__(self, settings: Settings, run: Path, port: int, token: str) -> None:
        self._settings = settings
        self._run = run
        self._socket = supervisor_socket(run)
        self._progress = Progress(settings, port, token)
        self._asked_at = 0.0
        self._at_once = False
        self._awake, self._alarm = os.pipe()
        for end in (self._awake, self._alarm):
            os.set_blocking(end, False)

    def run(self, environment: dict[str, str]) -> int:
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # so that a death wakes us
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # of a model: gigabytes, and prompts
        adopt()
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord",
             "-c", str(CHECKOUT / "supervisord.conf")],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: we stop the others in order
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread has been started
        )  # fmt: skip
        try:
            self._progress.starting()
            return self._serve()
        finally:
            self._stop()

    def _serve(self) -> int:
        """Until it is asked to stop, which is no failure, or cannot go on."""
        if self._until_up():
            self._progress.welcome()
            orphans = Leaderless(self._supervisor.pid)
            while self._alive and not self._asked_at:
                if _given_up(self._gateway()):
                    self._progress.failed("the gateway ended and supervisor gave it up")
                    return 1
                if ended := orphans.end():
                    self._progress.ended_orphans(ended)
                self._pause(BETWEEN_LOOKS)
        if not self._asked_at and not self._alive:
            self._progress.failed(f"supervisor ended ({self._supervisor.returncode})")
        return 0 if self._asked_at else 1

    def _until_up(self) -> bool:
        """Say what it waits for; whether there is something to stay for."""
        first = 0
        while self._alive and not self._asked_at:
            gateway = self._gateway()
            first = first or gateway.get("pid", 0)
            again = gateway.get("statename") == "BACKOFF" or gateway.get("pid", first) != first
            if _given_up(gateway) or (again and not self._progress.answered):
                self._progress.failed(self._progress.last_line())
                return False
            if self._progress.is_up():
                return True
            self._pause(0.05)
        return False

    @property
    def _alive(self) -> bool:
        return self._supervisor.poll() is None

    def _gateway(self) -> dict[str, Any]:
        """Asking wakes supervisor, whose loop otherwise turns once a second."""
        try:
            answer = ask(self._socket, lambda s: s.supervisor.getProcessInfo("gateway"))
            return dict(answer)
        except (Unreachable, Refusal):
            return {}

    def _pause(self, seconds: float) -> None:
        """Shorter when a signal comes or a child dies."""
        if select.select([self._awake], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self._awake, 1024)

    def _ask(self, number: int, _: object) -> None:
        now = time.monotonic()
        if not self._asked_at:
            self._asked_at = now
        elif number == signal.SIGINT or now - self._asked_at > ANOTHER_TERM:
            self._at_once = True

    def _stop(self) -> None:
        if self._alive:
            self._progress.stopping()
            self._supervisor.terminate()
        limit = self._settings.drain_limit + MORE_THAN_SUPERVISOR
        deadline = time.monotonic() + limit
        while self._alive and not self._at_once and time.monotonic() < deadline:
            answers(self._socket)
            self._pause(0.05)
        if self._alive:
            self._supervisor.kill()
        self._supervisor.wait()
        end_all(0.0 if self._at_once else ORPHANS_GRACE)
        for left in (self._socket, supervisor_key(self._run), self._run / "supervisord.pid"):
            left.unlink(missing_ok=True)
        with suppress(CannotStart), claimed(self._run):
            pass  # nobody holds it: what a killed gateway left goes with this
        self._progress.stopped()


def _given_up(gateway: dict[str, Any]) -> bool:
    state = gateway.get("statename")
    return state == "FATAL" or (state == "EXITED" and gateway["exitstatus"] in EXPECTED)


if __name__ == "__main__":
    sys.exit(main())
