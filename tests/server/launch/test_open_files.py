"""The gateway may open as many files as the system lets it, whatever its parent may."""

import sys
from pathlib import Path

import pytest

from tests.support.harness import ROOT, Home, home, until

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "echo"}

if not Path("/proc/self/limits").exists():
    pytest.skip("the limits are looked for in /proc", allow_module_level=True)


def limit_of_gateway(server: Home, soft: int, hard: int) -> int:
    command = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"'
    process = server.start(
        "sh", "-c", command, "sh", sys.executable, "-m", "gateway", name="gateway"
    )
    until(lambda: server.http("/health")[0] == 200, "the start")
    limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    [line] = [each for each in limits if each.startswith("Max open files")]
    return int(line.split()[3])


@pytest.mark.parametrize(("hard", "told"), [(4096, False), (2000, True)])
def test_the_limit_is_raised_and_a_low_one_is_told(tmp_path: Path, hard: int, told: bool) -> None:
    with home(tmp_path, **ECHO) as server:
        assert limit_of_gateway(server, 256, hard) == hard
        said = server.log("gateway")
        assert (f"only {hard} files and connections can be open" in said) == told, said
