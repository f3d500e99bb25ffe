"""Apply the sandbox to this process: network, files, privileges, memory, core dumps.

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
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.sandbox import landlock, network_namespace
from worker.sandbox.permissions import SandboxNeeds, file_rights

log = logging.getLogger(__name__)

_MIB = 2**20
_CAPABILITIES_OF_ROOT = (1, 14)
"""CAP_DAC_OVERRIDE: model files may belong to other users. CAP_IPC_LOCK: models may be locked
in memory."""
_CAPABILITIES_V3 = 0x20080522


CONFINED = "confined"


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
        return {**report.measures, "files": f"open: {sys.platform} is not Linux"}
    report.attempt("privileges", landlock.no_new_privileges)
    isolated = report.attempt("network", lambda: _leave_network(needs))
    report.attempt("capabilities", _drop_capabilities)
    restricted = report.attempt("files", lambda: _restrict(needs, isolated))
    tcp_restricted = restricted and landlock.version() >= landlock.NETWORK_SINCE
    if tcp_restricted and not isolated and not needs.network:
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


def _leave_network(needs: SandboxNeeds) -> None:
    if needs.network:
        raise ValueError("the binding's card requests the network")
    if needs.port:
        raise ValueError("the gateway is on another machine")
    network_namespace.leave_network()


def _restrict(needs: SandboxNeeds, isolated: bool) -> None:
    if not landlock.version():
        raise ValueError("this kernel has no Landlock")
    ports = None if needs.network or isolated else [needs.port] if needs.port else []
    landlock.restrict(file_rights(needs), ports)


def _drop_capabilities() -> None:
    """Those of root, or those that a new user namespace gave."""
    mask = 0 if os.geteuid() else sum(1 << number for number in _CAPABILITIES_OF_ROOT)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    half = [mask & 0xFFFFFFFF, mask & 0xFFFFFFFF, 0]  # effective, permitted, inheritable
    data = (ctypes.c_uint32 * 6)(*half, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, data):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
