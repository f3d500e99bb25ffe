"""The security report says what is confined and what is open, in one screen."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loading import load_settings
from gateway.security.access import load_tokens
from gateway.security_report import Kernel, report
from tests.support.harness import ROOT, home

KERNEL = Kernel("6.18", 7, "", root=False)
CONFINED = {
    name: "confined"
    for name in (
        "files", "network", "sockets", "shared_memory", "processes", "privileges",
        "capabilities", "core_dumps",
    )
}  # fmt: skip


def status_of(**sandbox: str) -> dict[str, Any]:
    worker = {"binding": "echo", "pid": 4711, "host": "here", "sandbox": sandbox}
    return {"pid": os.getpid(), "workers": [worker]}


def lines_of(
    folder: Path, status: dict[str, Any] | None, kernel: Kernel = KERNEL, **settings: str
) -> dict[str, str]:
    """First word or words of each line to the rest; every line is one of these."""
    loaded = load_settings(
        ["--home", str(folder)], {f"LOLLMS_{name.upper()}": text for name, text in settings.items()}
    )
    lines = report(loaded, load_tokens(loaded), kernel, status)
    assert len(lines) <= 24 and all(line.isprintable() for line in lines), lines
    return {line[:17].strip(): line[17:].strip() for line in lines}


def test_a_server_on_this_machine_with_a_confined_worker_fits_on_a_screen(tmp_path: Path) -> None:
    shown = lines_of(tmp_path, status_of(**CONFINED, memory="300 MiB"))
    for name in CONFINED:
        assert shown[name.replace("_", " ")] == "confined"
    assert shown["memory"] == "confined: 300 MiB"
    assert shown["card"] == "asks for nothing more"
    assert shown["address"].startswith("confined: this machine only (127.0.0.1:")
    assert shown["tokens"].startswith("open: ") and shown["encryption"].startswith("open: ")
    assert shown["remote workers"].startswith("confined") and shown["sandbox"] == "confined: on"
    assert "open files" in shown["limits"]
    assert "user" not in shown


def test_what_is_open_is_said_with_its_reason(tmp_path: Path) -> None:
    shown = lines_of(
        tmp_path, status_of(files="open: this kernel has no Landlock", network="confined: no TCP"),
        Kernel("5.4", 0, "Operation not permitted", root=True),
        host="0.0.0.0", insecure="yes", sandbox="no", workers_tcp="127.0.0.1:9602",
    )  # fmt: skip
    assert shown["files"] == "open: this kernel has no Landlock"
    assert shown["network"] == "confined: no TCP"
    assert shown["sockets"] == "open: nothing was done"
    assert shown["memory"] == "open: no memory_limit in config.yaml"
    assert shown["address"].startswith("open: other machines reach it (0.0.0.0:")
    assert shown["tokens"] == "open: everybody who reaches the server can connect"
    assert shown["remote workers"] == "open: with a key, at 127.0.0.1:9602"
    assert shown["sandbox"] == "open: switched off (--sandbox no)"
    assert shown["Landlock"].startswith("open: there is none")
    assert shown["namespaces"] == "open: Operation not permitted"
    assert shown["user"].startswith("open: root")


def test_who_chooses_the_defaults_is_named(tmp_path: Path) -> None:
    def shown(**settings: str) -> str:
        row = lines_of(tmp_path, None, **settings)["tokens"].removeprefix("confined: required; ")
        return row.removesuffix(" may change the server's defaults")

    tokens = tmp_path / "tokens"
    tokens.write_text("alice alice-0123456789abcdef operator\nbob bob-0123456789abcdef\n")
    tokens.chmod(0o600)
    assert shown(api_key="carol-0123456789abcdef") == "alice, api_key"
    tokens.write_text("".join(f"o{n} o{n}-0123456789abcdef operator\n" for n in range(9)))
    assert shown() == "o0, o1, o2, o3, o4 and 4 more"
    tokens.write_text("bob bob-0123456789abcdef\n")
    assert shown() == "nobody"


def test_a_remote_worker_forges_no_line(tmp_path: Path) -> None:
    forged = "confined\n  files           confined\x1b[2J"
    shown = lines_of(tmp_path, status_of(**CONFINED, card=forged, **{"\x1b[H": "x" * 10_000}))
    assert shown["card"] == "confined\\n  files           confined\\x1b[2J"


@pytest.mark.parametrize(
    ("allow", "said"),
    [
        ("", "asker asks for network (not allowed), writes (not allowed)"),
        ("network", "asker asks for network (allowed), writes (not allowed)"),
        ("all", "asker asks for network (allowed), writes (allowed)"),
    ],
)
def test_it_says_what_cards_ask_for_and_what_is_allowed(
    tmp_path: Path, allow: str, said: str
) -> None:
    for name, card in (
        ("asker", "network: true\nwrites: [/a]\n"), ("modest", "name: modest\nnetwork: perhaps\n"),
        ("broken", "[1"),
    ):  # fmt: skip
        (tmp_path / "bindings" / name).mkdir(parents=True)
        (tmp_path / "bindings" / name / "binding_card.yaml").write_text(card)
    (tmp_path / "config.yaml").write_text(f"bindings: {{asker: {{allow: '{allow}'}}}}")
    shown = lines_of(tmp_path, None, bindings_path=str(tmp_path / "bindings"))
    assert shown["cards"] == said


def printed(environment: dict[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.security_report", *flags], cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_it_asks_the_running_server_and_works_without_one(tmp_path: Path) -> None:
    with home(
        tmp_path, bindings_path=str(ROOT / "bindings"), binding_name="echo", model_name="echo",
        api_key="a-token-that-is-long-enough",
    ) as server:  # fmt: skip
        alone = printed(server.environment)
        assert (alone.returncode, alone.stderr) == (0, "")
        assert f"no server answers at 127.0.0.1:{server.port}" in alone.stdout
        assert "\nworker" not in alone.stdout and "confined: required" in alone.stdout
        server.headers = {"Authorization": "Bearer a-token-that-is-long-enough"}
        server.gateway()
        worker = server.worker("echo")
        server.ready()
        done = printed(server.environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"worker echo, pid {worker.pid}, on " in done.stdout
        assert done.stdout.count("\n") <= 24 and "token-that" not in done.stdout
        if sys.platform == "linux":
            assert "\n  privileges      confined\n" in done.stdout


def test_settings_that_cannot_be_used_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("port: many\n")
    done = printed(dict(os.environ), "--home", str(tmp_path))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("security_report: ") and done.stderr.count("\n") == 1
