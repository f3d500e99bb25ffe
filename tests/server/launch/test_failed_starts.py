"""A failed start ends with a one-line message and an exit code that is not 0."""

import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.harness import ROOT, Home, home, until
from tests.support.processes import all_gone, nothing_left, tree

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "echo"}


def start(server: Home) -> subprocess.Popen[bytes]:
    return server.start_plain("gateway.launch")


def last_line(server: Home) -> str:
    return server.log("gateway.launch").splitlines()[-1]


def test_a_taken_port_is_named_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with home(tmp_path / "home", **ECHO, port=str(port)) as server:
            assert start(server).wait(20) == 1
            assert len(server.log("gateway.launch").splitlines()) == 1
            assert str(port) in last_line(server)


def test_a_port_that_is_taken_between_check_and_start_is_named(tmp_path: Path) -> None:
    with home(tmp_path / "home", **ECHO) as server, socket.socket() as taken:
        launcher = start(server)
        until(lambda: "starting in" in server.log("gateway.launch"), "the check", 30)
        # The gateway is still importing modules and has not bound the port.
        taken.bind(("127.0.0.1", server.port))
        processes = tree(launcher.pid)
        assert launcher.wait(30) == 1
        said = [line for line in server.log("gateway.launch").splitlines() if "listen" in line]
        assert len(said) == 1 and str(server.port) in said[0]
        all_gone(processes, 2)
        nothing_left(tmp_path / "home" / "run")


@pytest.mark.parametrize(
    "config", ["port: [", "port: many\n", "- a list\n", "\x00", "a: &a [*a]\n"]
)
def test_a_broken_config_is_one_line(tmp_path: Path, config: str) -> None:
    with home(tmp_path / "home", bindings_path=str(ROOT / "bindings")) as server:
        (server.folder / "config.yaml").write_text(config)
        server.settings["port"] = ""  # the value of the file counts
        assert start(server).wait(20) == 1
        log = server.log("gateway.launch").splitlines()
        assert len(log) == 1 and log[0].startswith("cannot start: "), log
        assert "config.yaml" in log[0] and len(log[0]) < 400


def test_a_setting_that_makes_no_sense_is_one_line(tmp_path: Path) -> None:
    with home(tmp_path / "home", **ECHO, stall_limit="often") as server:
        assert start(server).wait(20) == 1
        assert len(server.log("gateway.launch").splitlines()) == 1
        assert "STALL_LIMIT" in last_line(server) and "often" in last_line(server)


def test_a_second_server_in_the_same_home_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    with home(tmp_path / "home", **ECHO) as server:
        server.launch()
        with home(tmp_path / "home", **ECHO) as second:
            assert start(second).wait(20) == 1
            assert "another server runs in" in last_line(second)
        assert server.http("/ready")[0] == 200 and len(server.worker_pids()) == 1
