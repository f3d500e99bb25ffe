"""Apply the sandbox to this process: network, files, sockets, processes, privileges, memory.

Model files come from strangers, and the libraries that read them have had
vulnerabilities. A worker needs its model, the processor and the gateway's socket.
The sandbox takes away the rest of the machine where the system supports it. No
measure may keep a worker from starting: a measure that failed is reported, and
`/status` shows it.
"""

import ctypes
import logging
import os
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from protocol.system_calls import libc_call
from worker.sandbox import landlock, namespaces, private_root
from worker.sandbox.permissions import LISTED_ONLY, SandboxNeeds, file_rights

log = logging.getLogger(__name__)

_MIB = 2**20
_CAPABILITIES_OF_ROOT = (1, 14)
"""CAP_DAC_OVERRIDE: model files may belong to other users. CAP_IPC_LOCK: models may be locked
in memory."""
_CAPABILITIES_V3 = 0x20080522

CONFINED = "confined"
OF_LINUX = ("files", "network", "sockets", "shared_memory", "processes")
"""Measures that other systems lack."""
PROCESSES = max(512, 256 + 4 * (os.cpu_count() or 1))
"""Processes and threads of one worker: llama.cpp, OpenMP and BLAS each start a thread for each
core."""


@dataclass(slots=True)
class _Report:
    """Result of each measure: "confined", perhaps with details; or "open: " and the reason."""

    measures: dict[str, str] = field(default_factory=dict)

    def attempt(self, measure: str, apply: Callable[[], str | None]) -> bool:
        try:
            self.measures[measure] = apply() or CONFINED
        except (OSError, ValueError, AttributeError) as error:
            self.measures[measure] = f"open: {getattr(error, 'strerror', None) or error}"
        return not self.measures[measure].startswith("open")


def confine(needs: SandboxNeeds) -> dict[str, str]:
    """Apply all measures and return the result of each. Call it before the first thread, and
    before the binding is imported. Does not raise for measures that the system lacks."""
    report = _Report()
    report.attempt("core_dumps", _no_core_dumps)
    if needs.memory:
        report.attempt("memory", lambda: _limit_memory(needs.memory))
    if sys.platform != "linux":
        reason = f"open: {sys.platform} is not Linux"
        return {**report.measures, **dict.fromkeys(OF_LINUX, reason)}
    report.attempt("privileges", landlock.no_new_privileges)
    rights = file_rights(needs)
    # First, because the user namespace that it creates makes the other namespaces possible.
    report.attempt("processes", _limit_processes)
    isolated = report.attempt("network", lambda: _leave_network(needs))
    report.attempt("sockets", lambda: _hide_sockets(needs, rights, isolated))
    report.attempt("shared_memory", lambda: _own_shared_memory(report.measures["sockets"]))
    report.attempt("capabilities", _drop_capabilities)
    restricted = report.attempt("files", lambda: _restrict(needs, rights, isolated))
    tcp_restricted = restricted and landlock.version() >= landlock.NETWORK_SINCE
    if tcp_restricted and not isolated and not needs.granted.network:
        exception = f" except to port {needs.port}" if needs.port else ""
        report.measures["network"] = f"{CONFINED}: no TCP{exception}"
    return report.measures


def _no_core_dumps() -> None:
    """They would take gigabytes, and contain prompts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_memory(mebibytes: int) -> str:
    """Limit private memory only: neither models mapped from their files nor the address space
    that GPU drivers reserve counts."""
    resource.setrlimit(resource.RLIMIT_DATA, (mebibytes * _MIB, mebibytes * _MIB))
    return f"{mebibytes} MiB"


def _limit_processes() -> str:
    """Processes and threads. The limit counts per user namespace, since Linux 5.14; without one
    of its own, this worker's limit would count everything that its user runs."""
    if not namespaces.own_users():
        raise ValueError("root's processes are not limited; run the server as another user")
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    limit = PROCESSES if most == resource.RLIM_INFINITY else min(PROCESSES, most)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    return f"{CONFINED}: at most {limit} processes and threads"


def _leave_network(needs: SandboxNeeds) -> None:
    if needs.granted.network:
        raise ValueError("the binding's card asks for the network, and the configuration allows it")
    if needs.port:
        raise ValueError("the gateway is on another machine")
    namespaces.leave_network()


def _hide_sockets(needs: SandboxNeeds, rights: Mapping[Path, int], isolated: bool) -> str:
    """Those that are files disappear with the file tree. Abstract ones belong to a network
    namespace; Landlock refuses them if this process keeps that of the machine."""
    if not landlock.version():
        raise ValueError("this kernel has no Landlock, and /proc leads to other file trees")
    tree = private_root.Tree()
    for path, right in rights.items():
        if path not in LISTED_ONLY:
            tree.show([path], writable=right & landlock.CHANGE == landlock.CHANGE)
    hidden, exception = [], ""
    if needs.gateway:
        folder = needs.gateway.parent
        tree.show([folder], writable=False)
        hidden = private_root.sockets_beside(needs.gateway)
        exception = "" if private_root.is_private(folder) else f", except those in {folder}"
    namespaces.own_mounts()
    private_root.enter(tree, hidden, needs.scratch, needs.memory)
    if not isolated and landlock.version() < landlock.SCOPES_SINCE:
        raise ValueError("abstract sockets only; this kernel's Landlock cannot refuse them")
    return CONFINED + exception


def _own_shared_memory(sockets: str) -> None:
    """/dev/shm is private in the new file tree."""
    namespaces.own_ipc()
    if sockets.startswith("open") and not sockets.startswith("open: abstract"):
        raise ValueError(f"/dev/shm; {sockets.removeprefix('open: ')}")


def _restrict(needs: SandboxNeeds, rights: Mapping[Path, int], isolated: bool) -> str:
    if not landlock.version():
        raise ValueError("this kernel has no Landlock")
    open_network = needs.granted.network or isolated
    ports = None if open_network else [needs.port] if needs.port else []
    landlock.restrict(rights, ports)
    return CONFINED + needs.granted.folders()


def _drop_capabilities() -> None:
    """Those of root, or those that a new user namespace gave."""
    mask = 0 if os.geteuid() else sum(1 << number for number in _CAPABILITIES_OF_ROOT)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    half = [mask & 0xFFFFFFFF, mask & 0xFFFFFFFF, 0]  # effective, permitted, inheritable
    data = (ctypes.c_uint32 * 6)(*half, 0, 0, 0)
    libc_call("capset", header, data)
