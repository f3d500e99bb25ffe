"""End what a supervisor or a worker that died has left running.

On Linux the orphans of a process become children of its nearest "subreaper". So nobody
has to remember pids, which may be another process's by the time they are needed.
"""

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02


def become_subreaper() -> None:
    """From now on this process is the parent of all orphans among its descendants."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children(grace: float) -> bool:
    """End every child of this process, by force after `grace` seconds; whether there was any."""
    deadline = time.monotonic() + grace
    terminated: set[int] = set()
    while children := _children():
        late = time.monotonic() >= deadline
        for pid in children:
            if late or pid not in terminated:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                terminated.add(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(POLL_SECONDS)
    return bool(terminated)


class OrphanedGroups:
    """Children that a dead worker left, in its process group: nobody needs them, and they keep
    its memory and its connection open.
    """

    def __init__(self, supervisor: int) -> None:
        """Workers are in the session of `supervisor`, each in a group of its own."""
        self._supervisor = supervisor
        self._terminated: set[int] = set()

    def end(self) -> int:
        """Ask those to end that are new, and make those that were asked before; how many are new.

        Who left group or session went to stay, and stays until everything ends.
        """
        children = [pid for pid in _children() if pid != self._supervisor]
        found = {pid for pid in children if _runs(pid) and self._is_left(pid)}
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if pid in self._terminated else signal.SIGTERM)
        new = len(found - self._terminated)
        self._terminated = found
        return new

    def _is_left(self, pid: int) -> bool:
        with suppress(ProcessLookupError):  # it ended on its own
            if os.getsid(pid) != self._supervisor:
                return False
            leader = os.getpgid(pid)
            try:
                os.kill(leader, 0)
            except ProcessLookupError:
                return True
        return False


def _runs(pid: int) -> bool:
    """Of a child; one that has ended is gone for good after this."""
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def _children() -> list[int]:
    pids: list[int] = []
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):
            pids += map(int, (thread / "children").read_text().split())
    return pids
