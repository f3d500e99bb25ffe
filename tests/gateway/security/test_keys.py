"""Does `python -m gateway.keys` make what lets somebody in, and keep it from everybody else?"""

import stat
import subprocess
import sys
from pathlib import Path

from gateway.config.loading import load_settings
from gateway.security.access import load_tokens
from tests.server.security.test_access import ECHO
from tests.support.harness import ROOT, Home, client, home, run


def keys(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.keys", "--home", str(folder), *command], cwd=ROOT,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


def test_a_token_that_it_made_gets_in(tmp_path: Path) -> None:
    made = keys(tmp_path, "token", "alice")
    assert made.returncode == 0 and str(tmp_path / "tokens") in made.stderr
    token = made.stdout.strip()
    assert len(token) >= 40 and token not in made.stderr

    async def scenario(server: Home) -> None:
        async with client(server, auth={"token": token}) as alice:
            await alice.settle()

    with home(tmp_path, **ECHO) as server:
        server.gateway()
        run(scenario(server))
        assert "connected as alice" in server.log("gateway")


def test_tokens_are_added_to_a_private_file(tmp_path: Path) -> None:
    keys(tmp_path, "token", "alice")
    path = tmp_path / "tokens"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(path.read_text().strip() + " running=2")  # an editor left no line break
    bob = keys(tmp_path, "token", "bob").stdout.strip()
    access = load_tokens(load_settings(["--home", str(tmp_path)], {}))
    holder = access.holder(bob)
    assert holder and holder.name == "bob" and len(path.read_text().splitlines()) == 2


def test_a_token_for_an_operator(tmp_path: Path) -> None:
    alice = keys(tmp_path, "token", "alice", "--operator").stdout.strip()
    bob = keys(tmp_path, "token", "bob").stdout.strip()
    access = load_tokens(load_settings(["--home", str(tmp_path)], {}))
    holders = access.holder(alice), access.holder(bob)
    assert [each and (each.name, each.operator) for each in holders] == [
        ("alice", True), ("bob", False),
    ]  # fmt: skip


def test_what_it_will_not_do_is_one_sentence(tmp_path: Path) -> None:
    keys(tmp_path, "token", "alice")
    for name, said in (("alice", "already"), ("a b", "one word"), ("#a", "one word")):
        done = keys(tmp_path, "token", name)
        assert done.returncode == 2 and done.stdout == "" and said in done.stderr
        assert done.stderr.count("\n") == 1
    (tmp_path / "tokens").chmod(0o644)
    assert "chmod 600" in keys(tmp_path, "token", "bob").stderr
