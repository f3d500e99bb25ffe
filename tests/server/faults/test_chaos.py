"""30 seconds with a fault every two seconds: no client sees an effect."""

import subprocess
import sys

import pytest

from tests.support.harness import ROOT


@pytest.mark.timeout(180)
def test_everybody_gets_what_is_theirs_while_things_break() -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", "--seconds", "30", "--seed", "7"]
    done = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=170
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
