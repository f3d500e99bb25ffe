"""Prepare the home before supervisor starts: folders, programs, environment, a free port."""

import errno
import glob
import math
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from gateway.config.command_line import PREFIX
from gateway.config.settings import Settings
from gateway.errors import CannotStart
from gateway.models.catalog import Catalog
from gateway.provisioning.supervisor_programs import folder, write_programs
from gateway.storage.secret_files import new_secret
from protocol.run_folder import make_run_folder, run_folder, supervisor_key, supervisor_socket

INHERITED = {
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "TMPDIR", "LANG", "LANGUAGE",
    "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR",
}  # fmt: skip
INHERITED_PREFIXES = (
    PREFIX, "LC_", "PYTHON", "XDG_", "MALLOC_", "OMP_", "GOMP_", "GGML_", "LLAMA_", "CUDA_",
    "NVIDIA_", "HIP_", "HSA_", "ROCR_", "SYCL_", "ONEAPI_", "VK_",
)  # fmt: skip
"""The environment that bindings inherit: without keys and tokens of other programs."""


def prepare_home(settings: Settings) -> tuple[Path, int]:
    """Create the folders, write supervisor's programs, find the port: run folder and port.

    Raise CannotStart, or OSError.
    """
    if accepts_connections(supervisor_socket(run_folder(settings.home))):
        raise CannotStart(
            f"another server runs in the home {settings.home}; stop it, or name another home "
            f"with {PREFIX}HOME"
        )
    port = _free_port(settings.host, settings.port)
    run = make_run_folder(settings.home)
    for each in (settings.home / "logs", settings.models_path):
        each.mkdir(parents=True, exist_ok=True)
    names = Catalog(settings.bindings_path, settings.models_path, settings.bindings).binding_names()
    for left_out in write_programs(settings, run, names):
        print(f"warning: {left_out}", file=sys.stderr)
    return run, port


def environment(settings: Settings, run: Path, port: int) -> dict[str, str]:
    """The variables that `supervisord.conf` reads; creates the password of this supervisor."""
    # supervisor splits the pattern at spaces: a home may have some.
    pattern = re.sub(r"\s", "?", glob.escape(str(folder(run)))) + "/*.conf"
    values = {
        "HOME": settings.home,
        "RUN": run,
        "PORT": port,
        "PROGRAMS": pattern,
        "PYTHON": sys.executable,
        "STOP_SECONDS": math.ceil(settings.drain_limit) + 5,
        "SUPERVISOR_KEY": new_secret(supervisor_key(run)),
    }
    return {PREFIX + name: str(value) for name, value in values.items()}


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {n: v for n, v in environ.items() if n in INHERITED or n.startswith(INHERITED_PREFIXES)}


def accepts_connections(path: Path) -> bool:
    """Whether a process listens on this Unix socket. Connecting also wakes supervisor."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0. The gateway binds it a moment later; this check only reports
    a used port early, in one line."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
            return int(probe.getsockname()[1])
    except OSError as error:
        if isinstance(error, socket.gaierror):
            raise CannotStart(f"there is no address {host!r} to listen on") from None
        what = f"cannot listen on {host}:{port}: {error.strerror}"
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            what += f"; {PREFIX}PORT names another port"
        raise CannotStart(what) from None
