"""What is taken away from a worker before it runs code that is not ours?

Model files come from strangers, and libraries that read them have had holes. A
worker needs its model, its processor and the gateway's socket; the rest of the
machine is taken away where the system allows it. Nothing of this may keep a
worker from starting: what could not be done is said, and shown in the status.
"""

import ctypes
import logging
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.sandbox import landlock
from worker.sandbox import network_namespace as netless
from worker.sandbox.permissions import Needs, files

log = logging.getLogger(__name__)

_MIB = 2**20
_KEPT_BY_ROOT = (1, 14)
"""CAP_DAC_OVERRIDE: files of others are models, too. CAP_IPC_LOCK: models may be locked."""
_CAPABILITIES_V3 = 0x20080522


CONFINED = "confined"


@dataclass(slots=True)
class _Report:
    """What holds, measure by measure: "confined", or a word more; or "open" and why."""

    said: dict[str, str] = field(default_factory=dict)

    def attempt(self, measure: str, work: Callable[[], str | None]) -> bool:
        try:
            self.said[measure] = work() or CONFINED
        except (OSError, ValueError, AttributeError) as error:
            self.said[measure] = f"open: {getattr(error, 'strerror', None) or error}"
        return not self.said[measure].startswith("open")


def enter(needs: Needs) -> dict[str, str]:
    """Before the first thread, and before anything of the binding is imported. Never raises for
    what the system does not have; the answer says what holds."""
    report = _Report()
    report.attempt("core_dumps", _no_core_dumps)
    if needs.memory:
        report.attempt("memory", lambda: _limit_memory(needs.memory))
    if sys.platform != "linux":
        return {**report.said, "files": f"open: {sys.platform} is not Linux"}
    report.attempt("privileges", landlock.no_new_privileges)
    alone = report.attempt("network", lambda: _leave_network(needs))
    report.attempt("capabilities", _drop_capabilities)
    confined = report.attempt("files", lambda: _confine(needs, alone))
    tcp = confined and landlock.version() >= landlock.NETWORK_SINCE
    if tcp and not alone and not needs.network:
        only = f" but to port {needs.port}" if needs.port else ""
        report.said["network"] = f"{CONFINED}: no TCP{only}"
    return report.said


def _no_core_dumps() -> None:
    """Gigabytes, and prompts in them."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_memory(mebibytes: int) -> str:
    """Of what is the process's own: a model that is mapped from its file is not counted, and
    neither is the address space that GPU drivers reserve."""
    resource.setrlimit(resource.RLIMIT_DATA, (mebibytes * _MIB, mebibytes * _MIB))
    return f"{mebibytes} MiB"


def _leave_network(needs: Needs) -> None:
    if needs.network:
        raise ValueError("its card asks for the network")
    if needs.port:
        raise ValueError("the gateway is on another machine")
    netless.leave()


def _confine(needs: Needs, alone: bool) -> None:
    if not landlock.version():
        raise ValueError("this kernel has no Landlock")
    ports = None if needs.network or alone else [needs.port] if needs.port else []
    landlock.restrict(files(needs), ports)


def _drop_capabilities() -> None:
    """Root's, or those that came with a namespace of one's own."""
    kept = 0 if os.geteuid() else sum(1 << number for number in _KEPT_BY_ROOT)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    half = [kept & 0xFFFFFFFF, kept & 0xFFFFFFFF, 0]  # effective, permitted, inheritable
    data = (ctypes.c_uint32 * 6)(*half, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, data):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
