"""How did a process end, as supervisor's log tells it?

The log names a pid when it spawns a process, and only the process's name when it ends:

    spawned: 'echo_00' with pid 4711
    exited: echo_00 (terminated by SIGSEGV (core dumped); not expected)
"""

import re

_SPAWNED = re.compile(r"spawned: '(?P<name>[^']+)' with pid (?P<pid>\d+)$", re.MULTILINE)
_ENDED = re.compile(r"(?:exited|stopped): (?P<name>.+?) \((?P<how>.+?)(?:; (?:not )?expected)?\)$")


def ending_of(pid: int, log: str, name: str = "") -> str:
    """ "was killed by SIGSEGV", "ended with exit code 3"; "" when the log does not say (yet).

    `name`, where it is known, helps when the log's end no longer goes back to the spawning.
    """
    running = {name: pid} if name and not name_of(pid, log) else {}
    for line in log.splitlines():
        if spawned := _SPAWNED.search(line):
            running[spawned["name"]] = int(spawned["pid"])
        elif (ended := _ENDED.search(line)) and running.get(ended["name"]) == pid:
            return _sentence(ended["how"])
    return ""


def name_of(pid: int, log: str) -> str:
    """ "" when the log does not say."""
    lives = [life["name"] for life in _SPAWNED.finditer(log) if int(life["pid"]) == pid]
    return lives[-1] if lives else ""


def last_pid_of(name: str, log: str) -> int:
    """The pid of its last life; 0 when the log does not say."""
    lives = [int(life["pid"]) for life in _SPAWNED.finditer(log) if life["name"] == name]
    return lives[-1] if lives else 0


def _sentence(how: str) -> str:
    how = how.replace("terminated by ", "was killed by ").replace(" (core dumped)", "")
    status = re.fullmatch(r"exit status (\d+)", how)
    return f"ended with exit code {status[1]}" if status else how
