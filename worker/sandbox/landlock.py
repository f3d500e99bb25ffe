"""Restrict files, TCP ports and signals of this process, with Linux's Landlock, by ctypes.

A restriction applies to this thread, and to all threads and processes that it
starts later. It cannot be removed. Landlock needs no privileges, and Linux 5.13 or
newer. The numbers are those of <linux/landlock.h>.
"""

import ctypes
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from protocol.kernel_features import landlock_version as version
from protocol.system_calls import libc_call, system_call

__all__ = ["no_new_privileges", "restrict", "version"]

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
CHANGE = READ | WRITE_FILE | TRUNCATE | sum(1 << bit for bit in range(4, 14))  # make, remove
DEVICE = READ | WRITE_FILE | IOCTL_DEV
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that apply to files that are not folders."""

_RIGHTS_SINCE = {1: (1 << 13) - 1, 2: 1 << 13, 3: TRUNCATE, 5: IOCTL_DEV}
"""Rights by the Landlock version that added them."""
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
NETWORK_SINCE, SCOPES_SINCE = 4, 6
_SCOPES = (1 << 0) | (1 << 1)
"""Abstract Unix sockets of, and signals to, processes outside the sandbox."""
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on all architectures
_PATH_RULE, _PORT_RULE = 1, 2
_PR_SET_NO_NEW_PRIVS = 38


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


class _PortRule(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


def restrict(files: Mapping[Path, int], ports: Iterable[int] | None) -> None:
    """Allow only these files and folders, with these rights, and, unless `ports` is None, no TCP
    except connections to these ports. Paths that do not exist are ignored. On OSError nothing
    has changed."""
    supported = version()
    handled = sum(rights for since, rights in _RIGHTS_SINCE.items() if since <= supported)
    network = supported >= NETWORK_SINCE and ports is not None
    attributes = _Ruleset(
        handled,
        _BIND_TCP | _CONNECT_TCP if network else 0,
        _SCOPES if supported >= SCOPES_SINCE else 0,
    )
    ruleset = system_call(_CREATE, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
    try:
        for path, rights in files.items():
            _allow(ruleset, path, rights & handled)
        for port in (ports or ()) if network else ():
            rule = _PortRule(_CONNECT_TCP, port)
            system_call(_ADD_RULE, ruleset, _PORT_RULE, ctypes.byref(rule), 0)
        no_new_privileges()
        system_call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def no_new_privileges() -> None:
    """Programs that this process starts gain no privileges from setuid bits or capabilities."""
    libc_call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        allowed = rights if path.is_dir() else rights & FILE_RIGHTS
        rule = _PathRule(allowed, descriptor)
        system_call(_ADD_RULE, ruleset, _PATH_RULE, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)
