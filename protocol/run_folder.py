"""Where do the gateway, the workers and supervisor of one home meet?

In the run folder: sockets, lock, secret, generated configuration. It is `run/`
in the home, unless that is too deep: the name of a Unix socket has 107 bytes,
and ZeroMQ cuts a longer one off without a word.
"""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
"""The folder of this project: gateway and workers run from it, nothing is installed."""
LONGEST_SOCKET = len("/supervisor.sock.0000000")
"""supervisord appends its pid while it binds."""
SOCKET_NAME_LIMIT = 107


def run_folder(home: Path) -> Path:
    """The run folder of a home; the same answer for everybody who asks. Creates nothing."""
    inside = home.resolve() / "run"
    if len(os.fsencode(inside)) + LONGEST_SOCKET <= SOCKET_NAME_LIMIT:
        return inside
    digest = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"lollms-{os.getuid()}-{digest}"


def make_run_folder(home: Path) -> Path:
    """Create it, or take it over, with mode 0700.

    Raise PermissionError when it is not ours: in a shared /tmp somebody may have
    been there first.
    """
    folder = run_folder(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"the run folder {folder} belongs to somebody else")
    folder.chmod(0o700)
    return folder


def workers_address(run: Path) -> str:
    """Where the gateway's ROUTER is bound."""
    return f"ipc://{run}/workers.sock"


def secret_file(run: Path) -> Path:
    """Written by each gateway anew, mode 0600; its text goes into Hello. In a folder of its own,
    which is all of the run folder that a confined worker can read."""
    return run / "hello" / "secret"


def lock_file(run: Path) -> Path:
    """Locked by the gateway: libzmq lets a second process steal an ipc path silently."""
    return run / "gateway.lock"


def supervisor_socket(run: Path) -> Path:
    return run / "supervisor.sock"


def supervisor_key(run: Path) -> Path:
    """What supervisor wants to hear on its socket, mode 0600. Workers can connect to that, and
    must not be able to have anything started."""
    return run / "supervisor.key"
