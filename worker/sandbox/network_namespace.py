"""Leave the network: move this process into a new, empty network namespace.

Unix sockets that are files, such as the gateway's, continue to work.
"""

import ctypes
import os
from pathlib import Path

_NEWUSER, _NEWNET = 0x10000000, 0x40000000


def leave_network() -> None:
    """Call it before the first thread. There is no way back. On OSError nothing has changed.

    A user who is not root also needs a user namespace, and stays the same user in it. Not
    every system allows users to create one.
    """
    try:
        _unshare(_NEWNET)
    except OSError:
        if number := _error_in_child():
            raise OSError(number, os.strerror(number)) from None
        _leave_as_user()


def _leave_as_user() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _unshare(_NEWUSER | _NEWNET)
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")
    ):  # fmt: skip
        Path("/proc/self", name).write_text(text)


def _error_in_child() -> int:
    """Try it in a child process. Return the error number, 0 on success. This process must not
    stop halfway, in a namespace without a user map: it could not go back."""
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
