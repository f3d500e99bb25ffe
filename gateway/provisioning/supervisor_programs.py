"""supervisor's configuration: one program section for each binding.

Each section is a file in the run folder, which `supervisord.conf` includes. The gateway
starts the processes when they are needed.
"""

import re
import shlex
import sys
from pathlib import Path

from gateway.config.binding_settings import AUTO_PROCESSES
from gateway.config.settings import Settings
from protocol.run_folder import CHECKOUT

SECTION = """\
; generated; changes are lost at the next start
[program:{name}]
command = {command}
directory = {directory}
process_name = %(program_name)s_%(process_num)02d
numprocs = {processes}
autostart = false
; 0 was asked for, 78 is a worker that the gateway refused: anything else is a crash
autorestart = unexpected
exitcodes = 0,78
; supervisor looks once a second, and takes what has died meanwhile for that much older
startsecs = {startsecs}
startretries = {retries}
stopwaitsecs = 5
; secrets of the gateway
environment = LOLLMS_API_KEY="",LOLLMS_SUPERVISOR_KEY=""
stopasgroup = true
killasgroup = true
priority = 100
stdout_logfile = {logs}/%(program_name)s_%(process_num)02d.out.log
stdout_logfile_maxbytes = 1MB
stdout_logfile_backups = 1
stderr_logfile = {logs}/%(program_name)s_%(process_num)02d.log
stderr_logfile_maxbytes = 5MB
stderr_logfile_backups = 2
"""

STARTED = 10
"""Seconds after which a process counts as started. supervisor gives up one that repeatedly
dies sooner; the gateway still restarts it on demand if it had said Hello."""
RETRIES = 3
"""Starts in a row that may fail, one second later each time, before supervisor gives up."""

_NAME = re.compile(r"(?!gateway$)[A-Za-z0-9_.+-]{1,100}")


class BadName(Exception):
    """supervisor could not read its configuration with a program of this name in it."""

    def __init__(self, binding: str) -> None:
        super().__init__(
            f"the binding folder {binding!r} needs another name to be run: letters, digits "
            "and any of _ . + - (and `gateway` is taken)"
        )


def folder(run: Path) -> Path:
    return run / "programs"


def check_program_name(binding: str) -> None:
    """Raise BadName."""
    if not _NAME.fullmatch(binding):
        raise BadName(binding)


def write_program(settings: Settings, run: Path, binding: str) -> bool:
    """Write the binding's section; whether that changed anything. Raise BadName."""
    check_program_name(binding)
    path = folder(run) / f"{binding}.conf"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    text = section(settings, binding)
    if path.exists() and path.read_text() == text:
        return False
    path.write_text(text)
    return True


def write_programs(settings: Settings, run: Path, bindings: list[str]) -> list[BadName]:
    """Write the sections of these bindings, and remove all others. Return those left out."""
    folder(run).mkdir(mode=0o700, exist_ok=True)
    for left in folder(run).glob("*.conf"):
        if left.stem not in bindings:
            left.unlink()
    left_out = []
    for binding in bindings:
        try:
            write_program(settings, run, binding)
        except BadName as error:
            left_out.append(error)
    return left_out


def log_file(settings: Settings, process: str) -> Path:
    """Where supervisor writes the process's stderr."""
    return settings.home / "logs" / f"{process}.log"


def section(settings: Settings, binding: str) -> str:
    command = [
        sys.executable, "-m", "worker", binding,
        "--home", str(settings.home), "--bindings_path", str(settings.bindings_path),
        "--models_path", str(settings.models_path),
        "--memory_limit", str(settings.memory_limit(binding)),
        "--allow", settings.allowed(binding), "--sandbox", "yes" if settings.sandbox else "no",
        "--log_level", settings.log_level, "--log_format", settings.log_format,
    ]  # fmt: skip
    return SECTION.format(
        name=binding,
        command=_escaped(shlex.join(command)),
        directory=_escaped(str(CHECKOUT)),
        processes=settings.processes(binding) or AUTO_PROCESSES,
        startsecs=STARTED,
        retries=RETRIES,
        logs=_escaped(_escaped(str(settings.home / "logs"))),  # names of logs are expanded twice
    )


def _escaped(text: str) -> str:
    """supervisor expands %(name)s in its files."""
    return text.replace("%", "%%")
