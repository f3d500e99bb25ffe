"""How does one command bring everything up, and take everything down? `make run`

It prepares the home, runs supervisor as its child, says when the server is
ready, and stays in the foreground. Whatever ends it, nothing stays behind.
"""

import argparse
import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from gateway.catalog import Catalog
from gateway.claim import CannotStart
from gateway.programs import write_programs
from gateway.settings import CHECKOUT, PREFIX, BadSetting, Settings, load_settings
from protocol.rundir import make_run_folder, supervisor_socket

STOP_SECONDS = 30.0
"""More than supervisor gives gateway and workers together."""
PR_SET_PDEATHSIG = 1


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
    try:
        settings = load_settings([], os.environ)
        run = _prepare(settings)
    except (BadSetting, CannotStart, OSError) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    variables = {"HOME": settings.home, "RUN": run, "PYTHON": sys.executable}
    if options.environment:
        for name, value in variables.items():
            print(f"export {PREFIX}{name}={shlex.quote(str(value))}")
        return 0
    environment = {**os.environ, **{PREFIX + n: str(v) for n, v in variables.items()}}
    return Launcher(settings, run).run(environment)


def _prepare(settings: Settings) -> Path:
    """Folders and generated sections; raise CannotStart when home or port are taken."""
    run = make_run_folder(settings.home)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(supervisor_socket(run)))
        except OSError:
            pass
        else:
            raise CannotStart(f"another server runs in {settings.home}; see LOLLMS_HOME")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise CannotStart(f"cannot listen on {where}: {error.strerror}") from None
    for folder in (settings.home / "logs", settings.models_path):
        folder.mkdir(parents=True, exist_ok=True)
    write_programs(
        settings, run, Catalog(settings.bindings_path, settings.models_path).binding_names()
    )
    return run


class Launcher:
    """Owns the supervisor process, and as the last resort what supervisor left behind."""

    def __init__(self, settings: Settings, run: Path) -> None:
        self._settings = settings
        self._run = run
        self._asked = 0
        self._children: set[int] = set()
        self._url = f"http://{settings.host}:{settings.port}"

    def run(self, environment: dict[str, str]) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)
        command = [sys.executable, "-m", "supervisor.supervisord"]
        self._supervisor = subprocess.Popen(
            [*command, "-c", str(CHECKOUT / "supervisord.conf")],
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: we stop the others in order
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread has been started
        )
        print(f"starting in {self._settings.home} …", flush=True)
        try:
            if not self._until_ready():
                return 0 if self._asked else 1
            self._welcome()
            while not self._asked and self._supervisor.poll() is None:
                self._look()
                time.sleep(0.2)
            return 0 if self._asked else 1
        finally:
            self._stop()

    def _until_ready(self) -> bool:
        """Say what it waits for; whether there is something to stay for."""
        said = ""
        while not self._asked and self._supervisor.poll() is None:
            self._look()
            ready, reason = self._ready()
            if ready:
                return True
            if not reason and self._gateway_gave_up():
                return False
            if reason and reason != said:
                print(f"waiting: {reason}", flush=True)
                said = reason
                if reason == "no model is selected":
                    return True
            time.sleep(0.1)
        return False

    def _ready(self) -> tuple[bool, str]:
        try:
            with urllib.request.urlopen(f"{self._url}/ready", timeout=2) as answer:
                return answer.status == 200, ""
        except urllib.error.HTTPError as error:
            with error:
                return False, str(json.load(error).get("reason", ""))
        except OSError:
            return False, ""

    def _gateway_gave_up(self) -> bool:
        """It says in its log why it cannot start, and supervisor leaves it at that."""
        log = self._settings.home / "logs" / "supervisord.log"
        tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        if "exited: gateway" not in tail.rpartition("supervisord started")[2]:
            return False
        last = (self._settings.home / "logs" / "gateway.log").read_text(errors="replace")
        print("\n".join(last.splitlines()[-1:]), file=sys.stderr)
        return True

    def _welcome(self) -> None:
        print(
            f"\n  the server is ready at {self._url}\n"
            f"  default model:  {self._model()}\n"
            f"  logs:           {self._settings.home / 'logs'}\n"
            "  next step:      make chat   (in another terminal)\n"
            "  Ctrl-C stops everything\n",
            flush=True,
        )

    def _model(self) -> str:
        try:
            with urllib.request.urlopen(f"{self._url}/ready", timeout=2) as answer:
                state = json.load(answer)
        except OSError:
            return "none is selected yet"
        return f"{state['model']} ({state['binding']})"

    def _look(self) -> None:
        """Remember what supervisor started: if it is killed, somebody must clean up."""
        pid = self._supervisor.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:
            return  # not on this system, or it has just ended
        self._children = {int(child) for child in children.split()}

    def _ask(self, *_: object) -> None:
        self._asked += 1
        if self._asked > 1:
            self._kill()

    def _stop(self) -> None:
        died = self._supervisor.poll() is not None
        if not died:
            print("stopping …", flush=True)
            self._look()
            self._supervisor.terminate()
            try:
                self._supervisor.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                died = True
        elif not self._asked:
            print(f"supervisor ended with {self._supervisor.returncode}", file=sys.stderr)
        if died:
            self._kill()
        self._supervisor.wait()
        for left in (
            "supervisor.sock",
            "supervisord.pid",
            "gateway.lock",
            "workers.sock",
            "secret",
        ):
            (self._run / left).unlink(missing_ok=True)
        print("stopped", flush=True)

    def _kill(self) -> None:
        for pid in {*self._children, self._supervisor.pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _die_with_parent() -> None:
    """Linux: a launcher that is killed takes supervisor with it, which stops the rest."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
