"""What did a supervisor that was killed leave running, and how does that end?

On Linux the orphans of a process become children of its nearest "subreaper". So nobody
has to remember pids, which may be somebody else's by the time they are needed.
"""

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
BETWEEN_LOOKS = 0.02


def adopt() -> None:
    """From now on this process inherits the orphans among its descendants."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all(grace: float) -> bool:
    """End every child of this process, by force after `grace` seconds; whether there was any."""
    deadline = time.monotonic() + grace
    asked: set[int] = set()
    while children := _children():
        late = time.monotonic() >= deadline
        for pid in children:
            if late or pid not in asked:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                asked.add(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(BETWEEN_LOOKS)
    return bool(asked)


def _children() -> list[int]:
    pids: list[int] = []
    for thread in Path("/proc/self/task").glob("*"):
        with suppress(OSError):
            pids += map(int, (thread / "children").read_text().split())
    return pids
