"""Process trees of a server, identified by pid and start time, and checks of their end."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.harness import until

if not Path("/proc/self/stat").exists():
    pytest.skip("the processes are looked for in /proc", allow_module_level=True)


@dataclass(frozen=True)
class Process:
    pid: int
    started: str
    """In clock ticks: distinguishes it from a later process with the same pid."""

    @property
    def alive(self) -> bool:
        stat = _stat(self.pid)
        return bool(stat) and stat[0] not in "ZX" and stat[19] == self.started


def process(pid: int) -> Process:
    return Process(pid, _stat(pid)[19])


def tree(pid: int) -> list[Process]:
    """The process and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (stat := _stat(int(entry.name))):
            parents[int(entry.name)] = int(stat[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return [process(each) for each in found]


def all_gone(processes: list[Process], seconds: float = 30) -> None:
    until(lambda: not [p for p in processes if p.alive], f"the end of {processes}", seconds)


def supervisord_of(launcher: int) -> int:
    """The pid of supervisord, which is the launcher's only child."""
    [pid] = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return int(pid)


def nothing_left(run: Path) -> None:
    """Check that no socket and no lock is in the run folder."""
    left = {path.name for path in run.iterdir()} - {"programs", "hello"}
    assert not left


def _stat(pid: int) -> list[str]:
    """The fields after the name, beginning with the state; [] if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
