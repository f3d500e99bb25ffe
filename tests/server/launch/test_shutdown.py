"""After any end of the server no process and no socket is left."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.run_folder import SOCKET_NAME_LIMIT, run_folder
from tests.server.contract.test_generation import ends_once
from tests.support.harness import ROOT, Event, Home, client, home, names, run, until
from tests.support.processes import (
    Process,
    all_gone,
    nothing_left,
    process,
    supervisord_of,
    tree,
)

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo"}
IDLE_STOP = 5.0
"""Seconds, the promised time to stop an idle server; a busy machine gets more."""
ROOM = 2.5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path / "home", model_name="lorem-10ms", **ECHO) as opened:
        yield opened


def launched(server: Home) -> tuple[int, list[Process]]:
    """The launcher's pid; the processes: launcher, supervisord, gateway and a worker."""
    launcher = server.launch()
    processes = tree(launcher.pid)
    supervised = {*server.supervised_pids().values()}
    assert supervised < {each.pid for each in processes} and len(supervised) == 2
    return launcher.pid, processes


def test_the_environment_says_what_is_served(server: Home) -> None:
    launched(server)
    status, body = server.http("/ready")
    assert status == 200 and "lorem-10ms" in body and '"echo"' in body
    until(lambda: server.url in server.log("launch"), "the message that it is up")
    assert "lorem-10ms (echo)" in server.log("launch")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_idle_server_that_is_told_to_stop_is_gone_soon(
    server: Home, number: signal.Signals
) -> None:
    _, processes = launched(server)
    began = time.monotonic()
    server.processes[0].send_signal(number)
    assert server.processes[0].wait(30) == 0
    took = time.monotonic() - began
    print(f"stopped after {took:.1f} s")
    all_gone(processes, 1)
    nothing_left(run_folder(server.folder))
    assert took < IDLE_STOP * ROOM
    assert server.log("launch").splitlines()[-1] == "stopped"


def test_sigterm_to_supervisord_ends_the_launcher_too(server: Home) -> None:
    launcher, processes = launched(server)
    began = time.monotonic()
    os.kill(supervisord_of(launcher), signal.SIGTERM)
    server.processes[0].wait(30)
    assert time.monotonic() - began < IDLE_STOP * ROOM
    all_gone(processes, 1)
    nothing_left(run_folder(server.folder))


def test_what_a_killed_supervisord_leaves_the_launcher_ends(server: Home) -> None:
    launcher, processes = launched(server)
    os.kill(supervisord_of(launcher), signal.SIGKILL)
    assert server.processes[0].wait(30) == 1
    all_gone(processes, 5)
    nothing_left(run_folder(server.folder))
    assert "supervisor ended" in server.log("launch")


def test_a_killed_launcher_takes_all_with_it(server: Home) -> None:
    _, processes = launched(server)
    server.processes[0].kill()
    all_gone(processes)


def test_nothing_outlives_launcher_and_supervisord_killed_together(server: Home) -> None:
    launcher, processes = launched(server)
    supervisord = supervisord_of(launcher)
    server.processes[0].send_signal(signal.SIGSTOP)  # neither has time to end other processes
    os.kill(supervisord, signal.SIGSTOP)
    for pid in (launcher, supervisord):
        os.kill(pid, signal.SIGKILL)
    all_gone(processes)


def test_after_a_killed_launcher_the_home_can_be_used_again(server: Home) -> None:
    _, processes = launched(server)
    server.processes[0].kill()
    all_gone(processes)
    _, again = launched(server)
    server.processes[-1].terminate()
    assert server.processes[-1].wait(30) == 0
    all_gone(again, 1)
    nothing_left(run_folder(server.folder))


def test_a_first_stop_lets_the_running_answer_end(server: Home) -> None:
    launched(server)

    async def scenario() -> list[Event]:
        async with client(server) as connected:
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 100})
            first = await connected.next("text_chunk")
            server.processes[0].terminate()
            return [first, *await connected.until("text_generated", "generation_error")]

    assert len(ends_once(run(scenario()))["text"].split()) == 100
    assert server.processes[0].wait(30) == 0


def test_a_second_ctrl_c_ends_it_at_once(server: Home) -> None:
    _, processes = launched(server)

    async def scenario() -> float:
        async with client(server) as connected:
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 100_000})
            await connected.next("text_chunk")
            server.processes[0].send_signal(signal.SIGINT)
            # The stop has begun: new requests are refused, the running one may end.
            async with client(server) as late:
                while names(await late.generate("x", n_predicts=1))[-1] != "buzzy":
                    await asyncio.sleep(0)
            began = time.monotonic()
            server.processes[0].send_signal(signal.SIGINT)
            await asyncio.to_thread(server.processes[0].wait, 30)
            return time.monotonic() - began

    took = run(scenario())
    print(f"ended after {took:.2f} s")
    assert took < 5  # the running generation would have been given ten
    all_gone(processes, 2)


def test_a_home_too_deep_for_a_socket_is_served_and_cleaned_up(tmp_path: Path) -> None:
    folder = tmp_path / "a folder with 50% of its name" / ("deep" * 25)
    assert len(str(folder / "run" / "supervisor.sock")) > SOCKET_NAME_LIMIT
    with home(folder, model_name="echo", **ECHO) as server:
        _, processes = launched(server)

        async def scenario() -> list[Event]:
            async with client(server) as connected:
                return await connected.generate("a b c")

        assert ends_once(run(scenario()))["text"] == "a b c"
        assert (folder / "logs" / "echo_00.log").exists()
        server.processes[0].terminate()
        assert server.processes[0].wait(30) == 0
        all_gone(processes, 1)
        nothing_left(run_folder(folder))


def test_a_crash_is_seen_by_supervisor_and_the_next_life_serves(server: Home) -> None:
    launched(server)
    gateway = server.gateway_pid()
    [worker] = server.worker_pids()
    dies = process(worker)
    server.kill(worker, signal.SIGKILL)
    all_gone([dies])
    # supervisor takes up to a second to notice.
    until(lambda: {*server.worker_pids()} - {worker}, "the restart of the worker")
    server.ready()
    assert server.gateway_pid() == gateway
