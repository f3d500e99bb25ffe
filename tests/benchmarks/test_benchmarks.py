"""Smoke tests of the benchmarks that need only the project itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.harness import ROOT

ECHO_ALONE = ["--rounds", "1", "--servers", "echo", "--patience", "2"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("end_to_end", "--rounds", "1", "--tokens", "2000"), "chunks/s, 64 clients together"),
        (("engine.stress", "--seconds", "3"), "and no hang"),
        (
            ("sharing", *ECHO_ALONE, "--only", "1 client that does not read, another model"),
            "| 1 client that does not read, another model |",
        ),
    ],
    ids=["end_to_end", "engine.stress", "sharing"],
)
def test_it_measures(command: tuple[str, ...], said: str, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="the embedded model needs llama-cpp-python")
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{command[0]}", *command[1:]],
        check=False, cwd=ROOT, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, text=True,
        capture_output=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert said in done.stdout
