"""Real process faults: crash, exit, hang, flood, fork, and allocation without end."""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable

from worker.binding import BindingError

LONG = 3600
"""Seconds, longer than any test waits."""
FLOOD = 64
"""MiB of standard output."""


def segfault(_: int) -> None:
    print("about to read address 0", file=sys.stderr, flush=True)
    ctypes.string_at(0)


def kill(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def freeze(_: int) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def fail(_: int) -> None:
    raise ValueError("a mistake in the binding")


def complain(_: int) -> None:
    raise BindingError("this prompt is not to my taste")


def memory(_: int) -> None:
    raise MemoryError


def loop(_: int) -> None:
    while True:
        pass


def hang(_: int) -> None:
    """In native code that has released the interpreter lock: heartbeats continue."""
    ctypes.CDLL(None).sleep(LONG)


def seize(_: int) -> None:
    """In native code that holds the interpreter lock: no heartbeats."""
    ctypes.PyDLL(None).sleep(LONG)


def flood(_: int) -> None:
    line = b"nobody wants to read this " * 40 + b"\n"
    for _ in range(FLOOD * 2**20 // len(line)):
        os.write(1, line)


def fork(_: int) -> None:
    """The parent exits; a child lives on with everything that it inherited."""
    if os.fork() == 0:
        time.sleep(LONG)
        os._exit(0)
    os._exit(1)


def allocate(_: int) -> None:
    """Up to the memory limit; without one it would use all memory of the machine."""
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    if all(limit == resource.RLIM_INFINITY for limit in limits):
        raise BindingError("allocating without end needs a memory_limit for this binding")
    taken = []
    while True:
        taken.append(bytearray(2**24))


FAULTS: dict[str, Callable[[int], None]] = {
    "segfault": segfault,
    "abort": lambda _: os.abort(),
    "exit": os._exit,
    "sysexit": sys.exit,
    "kill": kill,
    "freeze": freeze,
    "raise": fail,
    "complain": complain,
    "memory": memory,
    "loop": loop,
    "hang": hang,
    "seize": seize,
    "flood": flood,
    "fork": fork,
    "allocate": allocate,
}
"""By name; each gets the number in the prompt."""

LOADS: dict[str, Callable[[], None]] = {
    "deadly": os.abort,
    "broken": lambda: fail(0),
    "hung": lambda: hang(0),
}
"""Faults that happen when a model of that name is loaded."""
