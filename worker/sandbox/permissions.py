"""Which files does a worker need, and may it use the network? From its flags and its card."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from protocol.run_folder import CHECKOUT
from worker.sandbox.landlock import CHANGE, DEVICE, READ, READ_DIR, READ_FILE, RUN

CARD = "binding_card.yaml"
MAX_CARD_BYTES = 64_000
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix", "/gnu")
FACTS = ("/etc", "/proc", "/sys")
NAMES = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
"""Where /etc/resolv.conf may lead to."""
PARTS = ("bin", "lib", "lib64")
"""Of a Python that is installed around the checkout."""
SPECIAL = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
GPUS = (
    "/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri", "/dev/kfd", "/dev/accel", "/dev/dxg",
)  # fmt: skip
NVIDIA, NVIDIA_MEMORY = Path("/proc/driver/nvidia/version"), Path("/dev/nvidia-uvm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    binding: str
    bindings_path: Path
    models_path: Path
    hello: Path
    """Where the secret of whichever gateway runs is read."""
    scratch: Path
    """What it may write to."""
    memory: int = 0
    """MiB; 0 is no limit."""
    port: int = 0
    """Where the gateway is, when it is on another machine."""
    network: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def asked_for(folder: Path) -> dict[str, Any]:
    """What the card in a binding's folder asks for beyond the usual: `network`, `reads`,
    `writes`. A card that cannot be read asks for nothing."""
    try:
        with (folder / CARD).open("rb") as file:
            card = yaml.safe_load(file.read(MAX_CARD_BYTES))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(card, dict):
        return {}
    return {
        "network": card.get("network") is True,
        "reads": tuple(map(str, _listed(card.get("reads")))),
        "writes": tuple(map(str, _listed(card.get("writes")))),
    }


def prepare(needs: Needs) -> None:
    """Make what must be there before anything is taken away."""
    for folder in (needs.scratch, needs.models_path, needs.hello):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if needs.scratch.is_dir():
        tempfile.tempdir = os.environ["TMPDIR"] = str(needs.scratch)
    helper = shutil.which("nvidia-modprobe")
    if NVIDIA.exists() and not NVIDIA_MEMORY.exists() and helper:
        # The driver would call it when it is first used; then it is too late, for it is setuid.
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run([helper, "-u", "-c", "0"], timeout=5, check=False)


def files(needs: Needs) -> dict[Path, int]:
    """Path to rights, for `landlock.restrict`; everything else is out of reach."""
    rights: dict[Path, int] = {}

    def add(paths: Iterable[str | Path], right: int) -> None:
        for path in paths:
            real = Path(path).expanduser().resolve()
            rights[real] = rights.get(real, 0) | right

    add(SYSTEM, RUN)
    add(_python(), RUN)
    add((CHECKOUT / "protocol", CHECKOUT / "worker", needs.bindings_path), RUN)
    add(FACTS + NAMES, READ)
    add(("/dev",), READ_DIR)
    add((needs.models_path,), READ)
    add((needs.hello,), READ_FILE)
    add(SPECIAL, DEVICE)
    add((path for pattern in GPUS for path in glob.glob(pattern)), DEVICE)
    add(("/dev/shm", needs.scratch), CHANGE)
    if NVIDIA.exists():
        add(("~/.nv",), CHANGE)  # what its driver has compiled
    add(needs.reads, READ)
    add(needs.writes, CHANGE)
    return rights


def _python() -> list[str]:
    """Where this interpreter and its libraries are. Of what is above the checkout only some
    folders: the home, with everything that is secret, is in there by default."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    places = {sys.prefix, sys.exec_prefix, sys.base_prefix, *sys.path, *libraries}
    found: list[str] = []
    for place in filter(None, places):
        above = CHECKOUT.is_relative_to(Path(place).resolve())
        found += [f"{place}/{part}" for part in PARTS] if above else [place]
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []
