"""What does the launcher tell those who start supervisor by hand?"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.run_folder import run_folder, supervisor_key
from tests.support.harness import ROOT, free_port


def environment_of(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LOLLMS_")}
    return subprocess.run(
        [sys.executable, "-m", "gateway.launch", "--environment"],
        cwd=ROOT, env={**clean, "LOLLMS_HOME": str(home), **variables}, check=False,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["plain", 'it\'s $HOME; `two` "words" 50%', "été"])
def test_a_shell_reads_the_environment_as_it_is_meant(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    port = str(free_port())
    told = environment_of(home, LOLLMS_PORT=port)
    assert (told.returncode, told.stderr) == (0, "")
    assignments = [shlex.split(line) for line in told.stdout.splitlines()]
    assert all(len(words) == 2 and words[0] == "export" for words in assignments)
    values = dict(words[1].split("=", 1) for words in assignments)
    assert values == {
        "LOLLMS_HOME": str(home),
        "LOLLMS_RUN": str(run_folder(home)),
        "LOLLMS_PORT": port,
        "LOLLMS_PROGRAMS": values["LOLLMS_PROGRAMS"],  # a pattern, tried by starting in such a home
        "LOLLMS_PYTHON": sys.executable,
        "LOLLMS_STOP_SECONDS": "15",
        "LOLLMS_SUPERVISOR_KEY": supervisor_key(run_folder(home)).read_text(),
    }


def test_without_a_setting_it_is_the_default_port_or_the_message_that_it_is_taken(
    tmp_path: Path,
) -> None:
    told = environment_of(tmp_path)
    if told.returncode == 0:
        assert "export LOLLMS_PORT=9601\n" in told.stdout and told.stderr == ""
    else:
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.startswith("cannot start: cannot listen on 127.0.0.1:9601: ")
        assert told.stderr.endswith("; LOLLMS_PORT names another port\n")
