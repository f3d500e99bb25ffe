"""Permissions of a worker: files and network, from its flags and its binding's card."""

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

from protocol.binding_card import CARD, MAX_CARD_BYTES
from protocol.run_folder import CHECKOUT
from worker.sandbox.landlock import CHANGE, DEVICE, READ, READ_DIR, READ_FILE, RUN

PROGRAM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix", "/gnu")
SYSTEM_INFORMATION = ("/etc", "/proc", "/sys")
RESOLVER_FOLDERS = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
"""/etc/resolv.conf may be a link into one of these."""
PREFIX_FOLDERS = ("bin", "lib", "lib64")
"""Folders of a Python whose prefix contains the checkout."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
GPU_DEVICES = (
    "/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dri", "/dev/kfd", "/dev/accel", "/dev/dxg",
)  # fmt: skip
NVIDIA, NVIDIA_MEMORY = Path("/proc/driver/nvidia/version"), Path("/dev/nvidia-uvm")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxNeeds:
    binding: str
    bindings_path: Path
    models_path: Path
    secret_folder: Path
    """Contains the secret that the running gateway has given to this binding."""
    scratch: Path
    """The folder that it may write to."""
    memory: int = 0
    """Limit in MiB; 0 means no limit."""
    port: int = 0
    """TCP port of the gateway, if it is on another machine."""
    network: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def card_permissions(folder: Path) -> dict[str, Any]:
    """The permissions that the card in a binding's folder requests: `network`, `reads`,
    `writes`. A card that cannot be read requests none."""
    try:
        with (folder / CARD).open("rb") as file:
            card = yaml.safe_load(file.read(MAX_CARD_BYTES))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(card, dict):
        return {}
    return {
        "network": card.get("network") is True,
        "reads": tuple(map(str, _as_list(card.get("reads")))),
        "writes": tuple(map(str, _as_list(card.get("writes")))),
    }


def prepare(needs: SandboxNeeds) -> None:
    """Create folders and devices that must exist before the sandbox is applied."""
    for folder in (needs.scratch, needs.models_path, needs.secret_folder):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if needs.scratch.is_dir():
        tempfile.tempdir = os.environ["TMPDIR"] = str(needs.scratch)
    helper = shutil.which("nvidia-modprobe")
    if NVIDIA.exists() and not NVIDIA_MEMORY.exists() and helper:
        # The driver runs this setuid program at its first use; in the sandbox it cannot.
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run([helper, "-u", "-c", "0"], timeout=5, check=False)


def file_rights(needs: SandboxNeeds) -> dict[Path, int]:
    """Rights by path, for `landlock.restrict`; all other paths are inaccessible."""
    rights: dict[Path, int] = {}

    def add(paths: Iterable[str | Path], right: int) -> None:
        for path in paths:
            real = Path(path).expanduser().resolve()
            rights[real] = rights.get(real, 0) | right

    add(PROGRAM_FOLDERS, RUN)
    add(_python_folders(), RUN)
    add((CHECKOUT / "protocol", CHECKOUT / "worker", needs.bindings_path), RUN)
    add(SYSTEM_INFORMATION + RESOLVER_FOLDERS, READ)
    add(("/dev",), READ_DIR)
    add((needs.models_path,), READ)
    add((needs.secret_folder,), READ_FILE)
    add(DEVICES, DEVICE)
    add((path for pattern in GPU_DEVICES for path in glob.glob(pattern)), DEVICE)
    add(("/dev/shm", needs.scratch), CHANGE)
    if NVIDIA.exists():
        add(("~/.nv",), CHANGE)  # the driver's cache of compiled code
    add(needs.reads, READ)
    add(needs.writes, CHANGE)
    return rights


def _python_folders() -> list[str]:
    """Folders of this interpreter and its libraries. Of a folder that contains the checkout only
    some subfolders: by default the home, with all secrets, is in the checkout."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, *sys.path, *libraries}
    folders: list[str] = []
    for prefix in filter(None, prefixes):
        above = CHECKOUT.is_relative_to(Path(prefix).resolve())
        folders += [f"{prefix}/{name}" for name in PREFIX_FOLDERS] if above else [prefix]
    return folders


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []
