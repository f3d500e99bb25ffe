"""When did a process on this machine die? The moment it does.

Heartbeats take seconds to miss. A pidfd becomes readable as soon as its process
is gone, and unlike SIGCHLD it works for processes that are nobody's child here.
It is Linux's; elsewhere, and for processes out of sight, heartbeats have to do.
"""

import asyncio
import os
from collections.abc import Callable


def on_exit(pid: int, callback: Callable[[], object]) -> Callable[[], None]:
    """Call back once, from the event loop, when `pid` exits; returns what stops watching."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return loop.call_soon(callback).cancel
    except (AttributeError, OSError):
        return lambda: None
    watching = True

    def stop() -> None:
        nonlocal watching
        if watching:
            watching = False
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def exited() -> None:
        stop()
        callback()

    loop.add_reader(descriptor, exited)
    return stop
