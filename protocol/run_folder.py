"""The run folder of a home: sockets, lock, secret and generated configuration.

It is `run/` in the home, unless that path is too long: the name of a Unix socket
has at most 107 bytes, and ZeroMQ truncates a longer one silently.
"""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
"""The folder of this project. Gateway and workers run from it; nothing is installed."""
LONGEST_SOCKET = len("/supervisor.sock.0000000")
"""supervisord appends its pid to the name while it binds."""
SOCKET_NAME_LIMIT = 107


def run_folder(home: Path) -> Path:
    """The run folder of a home, the same in every process. Creates nothing."""
    folder = home.resolve() / "run"
    if len(os.fsencode(folder)) + LONGEST_SOCKET <= SOCKET_NAME_LIMIT:
        return folder
    digest = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"lollms-{os.getuid()}-{digest}"


def make_run_folder(home: Path) -> Path:
    """Create it, or reuse it, with mode 0700.

    Raise PermissionError if it belongs to another user: in a shared /tmp another user
    may have created it first.
    """
    folder = run_folder(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"the run folder {folder} belongs to another user")
    folder.chmod(0o700)
    return folder


def workers_address(run: Path) -> str:
    """The address of the gateway's ROUTER."""
    return f"ipc://{run}/workers.sock"


def secrets_folder(run: Path) -> Path:
    return run / "hello"


def secret_file(run: Path, binding: str) -> Path:
    """The secret that a binding's workers send in Hello. Each gateway writes a new one, mode 0600.
    It has its own folder, the only part of the run folder that a sandboxed worker can read."""
    return secrets_folder(run) / binding / "secret"


def lock_file(run: Path) -> Path:
    """Locked by the gateway, because libzmq lets a second process take over an ipc path
    silently."""
    return run / "gateway.lock"


def supervisor_socket(run: Path) -> Path:
    return run / "supervisor.sock"


def supervisor_key(run: Path) -> Path:
    """The password of supervisor's socket, mode 0600. Workers can connect to the socket, and
    must not be able to start programs."""
    return run / "supervisor.key"
