"""Installs socket.io-client for Node once, into the user's cache."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PACKAGE = "socket.io-client@4"
INSTALL_SECONDS = 300


@functools.cache
def node_modules() -> Path | None:
    """The folder to `require` from; None if Node or npm is missing."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "lollms-server" / "node"
    if (folder / "node_modules" / "socket.io-client" / "package.json").exists():
        return folder / "node_modules"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Atomic: another run may install at the same time, and this one may be killed.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="node-") as new:
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--prefix", new, PACKAGE],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=INSTALL_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        folder.mkdir(exist_ok=True)
        try:
            (Path(new) / "node_modules").rename(folder / "node_modules")
        except OSError:  # another run was faster
            assert (folder / "node_modules").exists()
    return folder / "node_modules"


def required_node_modules() -> Path:
    """Skip the test on a machine without Node; fail if `CI` is set."""
    modules = node_modules()
    if modules is None:
        reason = "Node and npm are needed to try the server with socket.io-client"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and in CI they have to be there")
        pytest.skip(reason)
    return modules
