"""What this kernel offers to sandboxes: Landlock, and namespaces for ordinary users."""

import os
import sys

from protocol.system_calls import libc_call, system_call

_LANDLOCK_CREATE, _LANDLOCK_VERSION = 444, 1
_NEWNS, _NEWUSER, _NEWNET = 0x20000, 0x10000000, 0x40000000


def landlock_version() -> int:
    """The Landlock version of the kernel; 0 without Landlock."""
    if sys.platform != "linux":
        return 0
    try:
        return system_call(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    except OSError:
        return 0


def namespace_error() -> str:
    """Why this process cannot have namespaces of its own; "" if it can. It tries in a child."""
    if sys.platform != "linux":
        return f"{sys.platform} is not Linux"
    child = os.fork()
    if not child:
        status = 1
        try:
            libc_call("unshare", (0 if os.geteuid() == 0 else _NEWUSER) | _NEWNS | _NEWNET)
            status = 0
        except OSError as error:
            status = error.errno or 1
        finally:
            os._exit(status)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return os.strerror(number) if number else ""
