"""How does a process get rid of the network? By moving into a network namespace without one.

Unix sockets that are files go on working, and so does the gateway's.
"""

import ctypes
import os
from pathlib import Path

_NEWUSER, _NEWNET = 0x10000000, 0x40000000


def leave() -> None:
    """For good, before the first thread. Raise OSError, nothing having changed.

    Who is not root needs a user namespace for it, and stays the same user in that; not
    every system lets everybody make one.
    """
    try:
        _unshare(_NEWNET)
    except OSError:
        if number := _tried_by_a_child():
            raise OSError(number, os.strerror(number)) from None
        _leave_as_user()


def _leave_as_user() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _unshare(_NEWUSER | _NEWNET)
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")
    ):  # fmt: skip
        Path("/proc/self", name).write_text(text)


def _tried_by_a_child() -> int:
    """The error number, 0 when it went well. A namespace without its user map, halfway, would
    be worse than none, and there is no way back."""
    child = os.fork()
    if not child:
        try:
            _leave_as_user()
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _unshare(what: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(what):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
