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
    uid, gid = os.geteuid(), os.getegid()
    library = ctypes.CDLL(None, use_errno=True)
    if not library.unshare(_NEWNET):
        return
    if library.unshare(_NEWUSER | _NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")
    ):  # fmt: skip
        Path("/proc/self", name).write_text(text)
