"""Whatever a worker says of itself, no other process is signalled and no other binding served."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from protocol import PROTOCOL_VERSION
from protocol.codec import decode, encode
from protocol.join_file import parse
from protocol.messages import Heartbeat, Hello, Message, Refused, Welcome
from protocol.run_folder import run_folder, secret_file, workers_address
from tests.gateway.security.test_keys import keys
from tests.server.contract.conftest import gathered
from tests.server.contract.test_generation import ends_once, select
from tests.server.security.test_access import ECHO
from tests.server.security.test_remote_workers import Inviting, dealer
from tests.support.harness import PATIENCE, Home, client, free_port, home, run, until

SILENCE_LIMIT = 3.0
"""Seconds after which a silent worker is killed."""


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "100"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def said_hello(server: Home, binding: str, pid: int, secret: str) -> Iterator[Message]:
    """The answer to a Hello from this process, which names another one and then is silent."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.identity = f"{binding}.{pid}.forged".encode()
        socket.connect(workers_address(run_folder(server.folder)))
        host = os.uname().nodename
        socket.send(encode(Hello(PROTOCOL_VERSION, binding, pid, 1, secret=secret, host=host)))
        assert socket.poll(int(PATIENCE * 1000)), "no answer"
        yield decode(socket.recv())


def test_a_worker_cannot_have_the_gateway_end_a_process_of_its_user(
    tmp_path: Path, bystander: "subprocess.Popen[bytes]"
) -> None:
    with home(tmp_path, **ECHO) as server:
        server.gateway()
        secret = secret_file(run_folder(tmp_path), "echo").read_text()
        with said_hello(server, "echo", bystander.pid, secret) as answer:
            deadline = time.monotonic() + SILENCE_LIMIT + 2
            while bystander.poll() is None and time.monotonic() < deadline:
                time.sleep(0.1)
        assert bystander.poll() is None, "the gateway ended it"
        assert isinstance(answer, Refused) and f"process {os.getpid()} connected" in answer.error
        assert "refused worker" in server.log("gateway")


def test_a_worker_cannot_say_hello_as_another_binding_with_its_own_secret(tmp_path: Path) -> None:
    bindings = gathered(tmp_path / "bindings")
    with home(tmp_path / "home", **{**ECHO, "bindings_path": str(bindings)}) as server:
        server.gateway()
        run_path = run_folder(server.folder)
        ours, theirs = (secret_file(run_path, name) for name in ("echo", "single"))
        with said_hello(server, "single", os.getpid(), ours.read_text()) as answer:
            assert isinstance(answer, Refused) and "secret" in answer.error
        assert ours.read_text() != theirs.read_text()
        for file in (ours, theirs):
            assert file.stat().st_mode & 0o777 == 0o600
            assert file.parent.stat().st_mode & 0o777 == 0o700
        processes = server.worker("echo"), server.worker("single")
        for process in processes:
            until(lambda each=process: f".{each.pid}." in server.log("gateway"), "its Hello")


def test_a_worker_of_a_binding_that_came_later_joins_at_once(tmp_path: Path) -> None:
    bindings = gathered(tmp_path / "bindings")
    card = bindings / "single" / "binding_card.yaml"
    text = card.read_text()
    card.unlink()
    with home(tmp_path / "home", **{**ECHO, "bindings_path": str(bindings)}) as server:
        server.gateway()
        assert not secret_file(run_folder(server.folder), "single").exists()
        card.write_text(text)
        process = server.worker("single")
        until(lambda: f"worker single.{process.pid}." in server.log("gateway"), "its Hello")
        assert "refused" not in server.log("gateway") and process.poll() is None


# Workers on other machines.


@pytest.fixture
def inviting(tmp_path: Path) -> Iterator[Inviting]:
    bindings = gathered(tmp_path / "bindings")
    settings = {**ECHO, "bindings_path": str(bindings), "stall_limit": "1"}
    with home(tmp_path / "home", **settings) as server:
        yield Inviting(server)


def test_a_key_that_is_struck_out_ends_its_worker_within_two_seconds(
    inviting: Inviting, tmp_path: Path
) -> None:
    process = inviting.worker(tmp_path / "elsewhere")
    inviting.server.ready()
    listed = inviting.server.folder / "keys" / "workers"
    listed.write_text("# rack7 was here\n")
    struck_out = time.monotonic()
    assert process.wait(PATIENCE) == 78
    assert time.monotonic() - struck_out < 2
    assert "its key was withdrawn" in (tmp_path / "elsewhere" / "log").read_text()
    assert "was dismissed: its key was withdrawn" in inviting.server.log("gateway")


def test_a_worker_with_a_withdrawn_key_is_refused_whatever_it_sends(inviting: Inviting) -> None:
    join_file = parse(inviting.file.read_text())
    with dealer(inviting.server, join_file) as (ask, socket):
        said = Hello(PROTOCOL_VERSION, "echo", 4711, 1, secret=join_file.secret)
        assert isinstance(ask(said), Welcome)
        (inviting.server.folder / "keys" / "workers").write_text("# rack7 was here\n")
        answers = []
        began = time.monotonic()
        while time.monotonic() < began + 4:
            socket.send(encode(Heartbeat(1, 0)))
            if socket.poll(500):
                answers.append(decode(socket.recv()))
        refusals = [each for each in answers if isinstance(each, Refused)]
        assert len(refusals) >= 2 and {each.error for each in refusals} == {"its key was withdrawn"}
        assert isinstance(ask(said), Refused)


def test_a_secret_does_not_open_the_door_for_another_key(inviting: Inviting) -> None:
    made = keys(inviting.server.folder, "worker", "rack8", f"127.0.0.1:{inviting.port}")
    other = parse(Path(made.stdout.strip()).read_text())
    with dealer(inviting.server, parse(inviting.file.read_text())) as (ask, _):
        said = Hello(PROTOCOL_VERSION, "echo", 4711, 1, secret=other.secret)
        answer = ask(said)
        assert isinstance(answer, Refused) and "does not belong to its key" in answer.error


def test_a_hung_worker_on_another_machine_ends(inviting: Inviting, tmp_path: Path) -> None:
    process = inviting.worker(
        tmp_path / "elsewhere", binding="stubborn",
        flags=("--bindings_path", str(tmp_path / "bindings")),
    )  # fmt: skip

    async def scenario() -> dict[str, Any]:
        async with client(inviting.server) as connected:
            await select(connected, "stubborn", "any")
            answer: dict[str, Any] = ends_once(await connected.generate("loop"))
            return answer

    until(lambda: "worker stubborn." in inviting.server.log("gateway"), "its Hello")
    error = run(scenario())["error"]
    assert "made no progress" in error
    assert process.wait(PATIENCE) == 70, "its keeper starts it again"
    assert "the gateway ends this worker" in (tmp_path / "elsewhere" / "log").read_text()


def test_keep_alive_stops_no_local_process_whose_pid_a_remote_worker_names(tmp_path: Path) -> None:
    port = free_port()
    made = keys(tmp_path, "worker", "rack7", f"127.0.0.1:{port}")
    join_file = parse(Path(made.stdout.strip()).read_text())
    settings = {**ECHO, "model_name": "lorem-10ms"}
    with home(tmp_path, **settings, keep_alive="1", workers_tcp=f"127.0.0.1:{port}") as server:
        server.launch()
        words = 500

        async def scenario() -> None:
            async with client(server) as one:
                await one.emit("generate_text", {"prompt": "x", "n_predicts": words})
                await one.next("text_chunk")
                pid = server.supervised_pids()["echo_00"]
                with dealer(server, join_file, pid) as (ask, socket):
                    said = Hello(PROTOCOL_VERSION, "echo", pid, 1, secret=join_file.secret)
                    assert isinstance(ask(said), Welcome)
                    for step in range(6):  # it is idle for longer than `keep_alive`
                        await asyncio.sleep(0.5)
                        socket.send(encode(Heartbeat(step, 0)))
                    assert server.supervised_pids().get("echo_00") == pid
                events = await one.until("text_generated", "generation_error")
                assert events[-1][1]["tokens"] == words

        run(scenario())
        assert "died" not in server.log("gateway")
