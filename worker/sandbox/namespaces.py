"""Move this process into namespaces of its own: network, mounts, System V IPC, users.

Call these functions before the first thread starts. There is no way back. On OSError
nothing has changed.
"""

import os
from pathlib import Path

from protocol.system_calls import libc_call

_NEWNS, _NEWUSER, _NEWIPC, _NEWNET = 0x20000, 0x10000000, 0x8000000, 0x40000000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_CAP_SYS_ADMIN = 21


def own_users() -> bool:
    """Whether a user namespace was needed to create the others, and was created.

    Root needs none. Others get one, and stay the same user in it. Not every system allows
    users to create one.
    """
    if _may_create_namespaces():
        return False
    if number := _error_in_child():
        raise OSError(number, os.strerror(number))
    _own_users()
    return True


def leave_network() -> None:
    """Unix sockets that are files continue to work."""
    libc_call("unshare", _NEWNET)


def own_mounts() -> None:
    """Mounts of this process are invisible to others. What the host mounts or unmounts later
    still shows here, so this process keeps no disk busy."""
    libc_call("unshare", _NEWNS)
    libc_call("mount", b"none", b"/", None, _MS_REC | _MS_SLAVE, None)


def own_ipc() -> None:
    """System V shared memory and POSIX message queues of other processes are gone."""
    libc_call("unshare", _NEWIPC)


def _may_create_namespaces() -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(effective, 16) & 1 << _CAP_SYS_ADMIN)


def _own_users() -> None:
    uid, gid = os.geteuid(), os.getegid()
    libc_call("unshare", _NEWUSER)
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
            _own_users()
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
