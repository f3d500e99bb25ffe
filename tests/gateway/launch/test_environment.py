"""What does the launcher tell those who start supervisor by hand?"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.run_folder import run_folder, supervisor_key
from tests.support.harness import ROOT


def environment_of(home: Path) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LOLLMS_")}
    return subprocess.run(
        [sys.executable, "-m", "gateway.launch", "--environment"],
        cwd=ROOT, env={**clean, "LOLLMS_HOME": str(home)}, check=False,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["plain", 'it\'s $HOME; `two` "words" 50%', "été"])
def test_a_shell_reads_the_environment_as_it_is_meant(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    told = environment_of(home)
    assert (told.returncode, told.stderr) == (0, "")
    assignments = [shlex.split(line) for line in told.stdout.splitlines()]
    assert all(len(words) == 2 and words[0] == "export" for words in assignments)
    values = dict(words[1].split("=", 1) for words in assignments)
    assert values == {
        "LOLLMS_HOME": str(home),
        "LOLLMS_RUN": str(run_folder(home)),
        "LOLLMS_PORT": "9601",
        "LOLLMS_PROGRAMS": values["LOLLMS_PROGRAMS"],  # a pattern, tried by starting in such a home
        "LOLLMS_PYTHON": sys.executable,
        "LOLLMS_STOP_SECONDS": "15",
        "LOLLMS_SUPERVISOR_KEY": supervisor_key(run_folder(home)).read_text(),
    }
