"""Learn that a process on this machine died, the moment it does.

Missed heartbeats take seconds. A pidfd becomes readable as soon as its process is gone, and
unlike SIGCHLD it works for processes that are not our children. It exists on Linux only;
elsewhere, and for processes in another pid namespace, heartbeats have to do.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class ProcessWatch:
    """Calls back once, from the event loop, when `pid` exits; until `stop`."""

    def __init__(self, pid: int, callback: Callable[[], object]) -> None:
        self._pid = pid
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._descriptor = -1
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._loop.call_soon(callback)
        except (AttributeError, OSError):
            return  # no pidfd on this system, or no such process in our namespace
        else:
            self._loop.add_reader(self._descriptor, self._exited)

    @property
    def stopped(self) -> bool:
        """By SIGSTOP, for example; False where /proc cannot say."""
        if self._descriptor < 0:
            return False
        try:
            status = Path(f"/proc/{self._pid}/stat").read_text()
        except OSError:
            return False
        return status.rpartition(")")[2].split()[0] == "T"

    def kill(self) -> None:
        """Send SIGKILL through the pidfd: the pid may belong to another process by now."""
        if self._descriptor >= 0:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def stop(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _exited(self) -> None:
        self.stop()
        self._callback()
