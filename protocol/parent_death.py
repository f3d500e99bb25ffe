"""End a process when its parent process dies (prctl PR_SET_PDEATHSIG, Linux only)."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Get SIGTERM when the parent dies. To be called in the child; no effect outside Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def die_with_supervisor() -> None:
    """The same if the parent is supervisor, which sets SUPERVISOR_ENABLED for its children."""
    if "SUPERVISOR_ENABLED" in os.environ:
        die_with_parent()
