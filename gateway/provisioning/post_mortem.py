"""Post-mortem: how a worker process ended, and the line of its log that explains it.

supervisor's log names a pid when it spawns a process, and only the process's name when it ends:

    spawned: 'echo_00' with pid 4711
    exited: echo_00 (terminated by SIGSEGV (core dumped); not expected)

The last line of a traceback names the error. After "Fatal Python error" the interpreter lists
its frames, so the line before counts. A worker that was killed from outside has only logged
its usual lines, which explain nothing.
"""

import os
import re
from pathlib import Path

from protocol.logs import level_and_text

TAIL_BYTES = 8192
MAX_LENGTH = 160
MAX_AGE = 2.0
"""Seconds. Older lines are of another process, or of another error."""

_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/:'\"]+/)+")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]+")
_SPAWNED = re.compile(r"spawned: '(?P<name>[^']+)' with pid (?P<pid>\d+)$", re.MULTILINE)
_ENDED = re.compile(r"(?:exited|stopped): (?P<name>.+?) \((?P<how>.+?)(?:; (?:not )?expected)?\)$")


def ending_of(pid: int, log: str, name: str = "") -> str:
    """ "was killed by SIGSEGV", "ended with exit code 3"; "" when the log does not say (yet).

    `name`, if known, is used when the tail of the log does not go back to the start.
    """
    running = {name: pid} if name and not name_of(pid, log) else {}
    for line in log.splitlines():
        if spawned := _SPAWNED.search(line):
            running[spawned["name"]] = int(spawned["pid"])
        elif (ended := _ENDED.search(line)) and running.get(ended["name"]) == pid:
            return _sentence(ended["how"])
    return ""


def name_of(pid: int, log: str) -> str:
    """The name of the process with this pid; "" when the log does not say."""
    lives = [life["name"] for life in _SPAWNED.finditer(log) if int(life["pid"]) == pid]
    return lives[-1] if lives else ""


def last_pid_of(name: str, log: str) -> int:
    """The pid of its last start; 0 when the log does not say."""
    lives = [int(life["pid"]) for life in _SPAWNED.finditer(log) if life["name"] == name]
    return lives[-1] if lives else 0


def _sentence(how: str) -> str:
    how = how.replace("terminated by ", "was killed by ").replace(" (core dumped)", "")
    status = re.fullmatch(r"exit status (\d+)", how)
    return f"ended with exit code {status[1]}" if status else how


def last_log_line(log: Path, ended: float) -> str:
    """The explaining line of the worker that wrote this log and ended at that time, or ""."""
    try:
        with log.open("rb") as file:
            status = os.fstat(file.fileno())
            if abs(ended - status.st_mtime) > MAX_AGE:
                return ""
            file.seek(max(0, status.st_size - TAIL_BYTES))
            return explaining_line(file.read().decode(errors="replace"))
    except OSError:
        return ""


def explaining_line(text: str) -> str:
    """The last line that says what went wrong, without control characters and folders."""
    before, aborted, after = text.rpartition("Fatal Python error: ")
    if aborted and not any(
        map(level_and_text, after.splitlines())
    ):  # otherwise an earlier process aborted
        text = before
    lines = [line for line in text.splitlines() if line.strip()]
    words = lines[-1] if lines else ""
    if ours := level_and_text(words):
        words = "" if ours[0] in ("DEBUG", "INFO") else ours[1]
    words = _UNSAFE.sub(" ", _FOLDERS.sub("", words)).strip()
    return words if len(words) <= MAX_LENGTH else words[: MAX_LENGTH - 1] + "…"
