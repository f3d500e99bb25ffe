"""End the child processes that a dead supervisor or worker has left running.

On Linux, orphans become children of the nearest ancestor that is a "subreaper". So no pids
are stored, which the system may have given to another process meanwhile.
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
    """End all children of this process, with SIGKILL after `grace` seconds. Return whether there
    were any."""
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
    """Children of dead workers, in the worker's process group. They would keep its memory and
    its connections.
    """

    def __init__(self, supervisor: int) -> None:
        """Workers are in the session of `supervisor`, each in a group of its own."""
        self._supervisor = supervisor
        self._terminated: set[int] = set()

    def end(self) -> int:
        """Send SIGTERM to new ones, and SIGKILL to those that got it before. Return how many are
        new.

        A process that left the group or session runs until the launcher stops.
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
    """Whether a child runs; one that has ended is reaped."""
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
