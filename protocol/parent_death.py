"""How does a process end with the one that has started it?"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For a child to call: whoever kills its parent asks it to end, too. Linux's alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def die_with_supervisor() -> None:
    """The same, where the parent is supervisor, who says so to its children."""
    if "SUPERVISOR_ENABLED" in os.environ:
        die_with_parent()
