"""Permissions of a worker: files and network, from its flags and what its card was granted."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from protocol.run_folder import CHECKOUT
from worker.sandbox.card import Permissions
from worker.sandbox.landlock import CHANGE, DEVICE, READ, READ_DIR, READ_FILE, RUN

PROGRAM_FOLDERS = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt",
    "/nix/store", "/nix/var/nix/profiles", "/run/current-system", "/run/opengl-driver",
    "/gnu/store",
)  # fmt: skip
"""Those of NixOS and Guix without the sockets of their daemons."""
SYSTEM_INFORMATION = ("/etc", "/proc", "/sys")
RESOLVER = (
    "/etc/resolv.conf", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
)  # fmt: skip
"""The first may be a link into one of the others, or elsewhere."""
PREFIX_FOLDERS = ("bin", "lib", "lib64")
"""Folders of a Python whose prefix contains the checkout."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
LISTED_ONLY = (Path("/dev"), Path("/dev/shm"))
"""Folders that a private file tree makes anew, instead of showing those of the machine."""
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
    gateway: Path | None = None
    """Unix socket of the gateway, if it is a file."""
    granted: Permissions = field(default_factory=Permissions)
    """What of the card's requests the operator allows."""

    @property
    def network(self) -> bool:
        """Whether it needs the network of the machine."""
        return self.granted.network or bool(self.port)


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
    """Rights by absolute path, for `landlock.restrict`; all others are inaccessible. Paths may
    be links."""
    rights: dict[Path, int] = {}

    def add(paths: Iterable[str | Path], right: int) -> None:
        for path in paths:
            absolute = Path(path).expanduser().absolute()
            rights[absolute] = rights.get(absolute, 0) | right

    add(PROGRAM_FOLDERS, RUN)
    add(_python_folders(), RUN)
    add((CHECKOUT / "protocol", CHECKOUT / "worker", needs.bindings_path), RUN)
    add(SYSTEM_INFORMATION, READ)
    if needs.network:
        add(RESOLVER, READ)
    add(("/dev",), READ_DIR)
    add((needs.models_path,), READ)
    add((needs.secret_folder,), READ_FILE)
    add(DEVICES, DEVICE)
    add((path for pattern in GPU_DEVICES for path in glob.glob(pattern)), DEVICE)
    add(("/dev/shm", needs.scratch), CHANGE)
    if NVIDIA.exists():
        add(("~/.nv",), CHANGE)  # the driver's cache of compiled code
    add(needs.granted.reads, READ)
    add(needs.granted.writes, CHANGE)
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
