"""The launcher leaves a foreign gateway alone and filters the environment of its children."""

import os
from pathlib import Path

import pytest

from gateway.provisioning.supervisor_rpc import call_supervisor
from protocol.run_folder import lock_file, run_folder, secret_file, supervisor_socket
from tests.support.harness import ROOT, client, home, run, until
from tests.support.processes import all_gone, nothing_left, tree

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "echo"}


def test_a_failing_start_takes_nothing_from_a_gateway_that_runs_by_hand(tmp_path: Path) -> None:
    with home(tmp_path, **ECHO) as one:
        one.gateway()
        one.worker("echo")
        one.ready()
        run = run_folder(tmp_path)
        before = secret_file(run, "echo").read_text()
        with home(tmp_path, **ECHO) as two:
            launcher = two.start_plain("gateway.launch")
            processes = tree(launcher.pid)
            assert launcher.wait(20) == 1
            said = two.log("gateway.launch").splitlines()
            assert [line for line in said if "another gateway uses the run folder" in line]
            all_gone(processes, 2)
        assert lock_file(run).exists() and secret_file(run, "echo").read_text() == before
        late = one.worker("echo")
        until(lambda: f"worker echo.{late.pid}." in one.log("gateway"), "its Hello")
        assert one.http("/ready")[0] == 200


def test_a_home_with_spaces_and_brackets_has_its_programs_from_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "my  [home] *"
    with home(folder, **ECHO) as server:
        launcher = server.launch()
        assert run_folder(folder).is_relative_to(folder), "else nothing is tried"
        known = call_supervisor(
            supervisor_socket(run_folder(folder)), lambda s: s.supervisor.getAllProcessInfo()
        )
        assert {each["group"] for each in known} == {"gateway", "echo", "llama_cpp"}
        launcher.terminate()
        assert launcher.wait(20) == 0
        nothing_left(run_folder(folder))


def test_children_know_nothing_that_was_meant_for_others_and_dump_no_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SERVICE_API_KEY", "hush")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with home(tmp_path, **ECHO, api_key="token-of-the-clients") as server:
        server.headers = {"Authorization": "Bearer token-of-the-clients"}
        server.launch()
        for name, pid in server.supervised_pids().items():
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            assert not [each for each in environment if b"hush" in each]
            told = [each for each in environment if b"token-of-the-clients" in each]
            assert bool(told) is (name == "gateway")
            assert b"OMP_NUM_THREADS=1" in environment
            assert os.fsencode(f"LOLLMS_PORT={server.port}") in environment
            limits = Path(f"/proc/{pid}/limits").read_text()
            (cores,) = [line for line in limits.splitlines() if "core file size" in line]
            assert cores.split()[4:6] == ["0", "0"]


def test_a_model_that_cannot_be_had_is_said_and_the_server_is_up(tmp_path: Path) -> None:
    with home(tmp_path, **{**ECHO, "model_name": "nothing"}) as server:
        server.start_plain("gateway.launch")
        until(lambda: "the server is up at" in server.log("gateway.launch"), "the welcome", 30)
        said = server.log("gateway.launch")
        assert "warning: " in said and "nothing (echo) cannot serve yet" in said
        assert server.http("/health")[0] == 200


def test_port_0_takes_a_free_one_and_says_which(tmp_path: Path) -> None:
    with home(tmp_path, **ECHO, port="0") as server:
        server.start_plain("gateway.launch")
        until(lambda: "make chat" in server.log("gateway.launch"), "the welcome", 30)
        said = server.log("gateway.launch")
        port = said.partition("http://127.0.0.1:")[2].split()[0]
        assert int(port) > 0 and f"LOLLMS_PORT={port} make chat" in said


def test_a_gateway_that_is_killed_comes_back(tmp_path: Path) -> None:
    with home(tmp_path, **ECHO) as server:
        server.launch()
        before, [worker] = server.gateway_pid(), server.worker_pids()
        server.kill(before, 9)
        until(lambda: server.supervised_pids().get("gateway", before) != before, "its restart")
        server.ready()
        assert server.worker_pids() == [worker]


def test_what_a_dead_worker_leaves_running_ends(tmp_path: Path) -> None:
    """The worker's child inherits its connection, which the gateway cannot close."""
    (tmp_path / "config.yaml").write_text("bindings: {faulty: {}}\n")
    with home(tmp_path, **ECHO) as server:
        launcher = server.launch()

        async def crash(prompt: str) -> None:
            async with client(server) as connected:
                await connected.ask("select_binding", {"binding_name": "faulty"},
                                    reply="select_binding")  # fmt: skip
                await connected.ask("select_model", {"model_name": "any"}, reply="select_model")
                events = await connected.generate(prompt)
                assert events[-1][0] == "generation_error"

        def connections() -> int:
            return sum(
                os.readlink(file).startswith("socket:")
                for file in Path(f"/proc/{server.gateway_pid()}/fd").iterdir()
                if os.path.lexists(file)
            )

        run(crash("exit@1"))
        server.ready()
        usual = connections()
        run(crash("fork@1"))
        until(lambda: "that a dead worker left" in server.log("launch"), "the message about it")
        until(lambda: connections() <= usual, f"{usual} connections")
        launcher.terminate()
        assert launcher.wait(20) == 0
