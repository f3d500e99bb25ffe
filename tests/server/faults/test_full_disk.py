"""A full disk, or a home that cannot be written: a start says so, or does without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.storage.secret_files import new_secret
from protocol.run_folder import make_run_folder, secret_file
from tests.support.harness import ROOT, Home, home, until

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "echo"}

FULL = "import resource; after = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
"""No file may be longer than this: the errors are those of a full disk, also for root."""
NOBODY = """
import encodings.idna, os
def after():
    if os.getuid() == 0:
        os.setgid(65534); os.setgroups([]); os.setuid(65534)
"""
START = "import importlib, sys; main = importlib.import_module('{0}.__main__').main"
"""Imports come first: the one that it becomes need not be able to read the checkout."""


def start(server: Home, module: str, trouble: str) -> subprocess.CompletedProcess[str]:
    code = [trouble, START.format(module), f"sys.argv = [{module!r}]; after(); sys.exit(main())"]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(code)], cwd=ROOT, env=server.environment,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def read_only(folder: Path) -> None:
    for each in (folder, folder / "logs"):
        each.chmod(0o555)


def run_folder_only(folder: Path) -> None:
    """Only the run folder can be written, as if it were in /tmp."""
    run = make_run_folder(folder)
    if os.getuid() == 0:
        os.chown(run, 65534, 65534)
    read_only(folder)


@pytest.mark.parametrize("module", ["gateway", "gateway.launch"])
@pytest.mark.parametrize(
    ("trouble", "prepare", "why"),
    [
        (NOBODY, read_only, "Permission denied"),
        (NOBODY, run_folder_only, "Permission denied"),
        (FULL.format(0), None, "File too large"),
        (FULL.format(40), None, "File too large"),
    ],
    ids=["read-only home", "run folder only", "full", "nearly full"],
)
def test_a_start_that_cannot_write_says_so_in_one_sentence(
    tmp_path: Path, module: str, trouble: str, prepare: object, why: str
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):  # which are pytest's, with mode 0700
        folder.chmod(folder.stat().st_mode | 0o055)
    with home(tmp_path / "home", **ECHO) as server:
        if callable(prepare):
            prepare(server.folder)
        try:
            done = start(server, module, trouble)
        finally:
            for each in (server.folder, server.folder / "logs"):
                each.chmod(0o755)
    said = done.stderr
    last = said.splitlines()[-1]
    assert done.returncode == 1 and "Traceback" not in said, said
    assert last.startswith(("gateway: ", "cannot start: ")) and why in last, said
    assert "[Errno" not in last and str(tmp_path) in last, last


def test_a_gateway_that_was_killed_comes_back_though_the_disk_is_full(tmp_path: Path) -> None:
    with home(tmp_path, **ECHO) as server:
        first = server.gateway()
        until((server.folder / "state.json").exists, "the state of the first start")
        secret = secret_file(make_run_folder(server.folder), "echo").read_text()
        first.kill()
        first.wait()
        command = 'ulimit -f 0 && exec "$@" 2>/dev/null'
        again = server.start("sh", "-c", command, "sh", sys.executable, "-m", "gateway", name="new")
        until(lambda: again.poll() is not None or server.http("/health")[0] == 200, "the start")
        assert again.poll() is None
        assert secret_file(make_run_folder(server.folder), "echo").read_text() == secret


def test_a_secret_is_new_each_time_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    path = tmp_path / "hello" / "secret"
    path.parent.mkdir()
    (path.parent / "secret.new").write_text("of one that was killed while it wrote")
    first, second = new_secret(path), new_secret(path)
    assert len(second) == 32 and first != second == path.read_text()
    assert [each.name for each in path.parent.iterdir()] == ["secret"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("left", "mode"), [("", 0o600), ("a" * 31, 0o600), ("a" * 33, 0o600), ("a" * 32, 0o640)]
)
def test_what_is_no_secret_is_not_used_again(tmp_path: Path, left: str, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_text(left)
    path.chmod(mode)
    (tmp_path / "secret.new").mkdir()  # nothing can be written
    with pytest.raises(OSError, match="secret"):
        new_secret(path)
