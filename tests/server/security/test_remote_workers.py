"""Workers on other machines join over CURVE with an invitation, and not without."""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from protocol import PROTOCOL_VERSION
from protocol.codec import decode, encode
from protocol.join_file import BadJoinFile, JoinFile, is_address, parse, write
from protocol.messages import Hello, Introduce, Refused, Welcome
from tests.gateway.security.test_keys import keys
from tests.server.security.test_access import ECHO
from tests.support.harness import PATIENCE, ROOT, Home, chunks, client, free_port, home, run, until


class Inviting:
    """A gateway with a TCP port for workers, and the file of an invited worker."""

    def __init__(self, server: Home) -> None:
        self.server = server
        self.port = free_port()
        made = keys(server.folder, "worker", "rack7", f"127.0.0.1:{self.port}")
        assert made.returncode == 0, made.stderr
        self.told = made.stderr
        self.file = Path(made.stdout.strip())
        server.gateway("--workers_tcp", f"127.0.0.1:{self.port}")

    def worker(
        self, folder: Path, file: Path | None = None, binding: str = "echo",
        flags: tuple[str, ...] = (),
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """A worker as on another machine: its own home, and only the invitation from this one."""
        folder.mkdir(exist_ok=True)
        mine = folder / "rack7.join"
        shutil.copy(file or self.file, mine)
        mine.chmod(0o600)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", binding, "--join", str(mine), "--home",
                 str(folder), *flags],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.server.processes.append(process)
        return process


@pytest.fixture
def inviting(tmp_path: Path) -> Iterator[Inviting]:
    with home(tmp_path / "home", **ECHO) as server:
        yield Inviting(server)


def test_an_invited_worker_joins_with_the_command_that_was_told(
    inviting: Inviting, tmp_path: Path
) -> None:
    assert "python -m worker BINDING --join rack7.join" in inviting.told
    inviting.worker(tmp_path / "elsewhere")
    inviting.server.ready()

    async def scenario() -> None:
        async with client(inviting.server) as one:
            events = await one.generate("from far away")
            assert chunks(events) == "from far away"

    run(scenario())
    said = (tmp_path / "elsewhere" / "log").read_text()
    assert "the gateway accepted this worker" in said
    assert f"confined: no TCP except to port {inviting.port}" in said or "open: " in said


def test_a_worker_of_this_machine_joins_as_before(inviting: Inviting) -> None:
    inviting.server.worker("echo")
    inviting.server.ready()


def test_who_is_struck_out_stays_out_and_hears_it(inviting: Inviting, tmp_path: Path) -> None:
    (inviting.server.folder / "keys" / "workers").write_text("# rack7 was here\n")
    process = inviting.worker(tmp_path / "elsewhere")
    assert process.wait(PATIENCE) == 78
    assert "does not know this worker's key" in (tmp_path / "elsewhere" / "log").read_text()
    assert "its key is not known" in inviting.server.log("gateway")


def test_the_list_is_not_believed_when_others_can_write_it(
    inviting: Inviting, tmp_path: Path
) -> None:
    (inviting.server.folder / "keys" / "workers").chmod(0o666)
    assert inviting.worker(tmp_path / "elsewhere").wait(PATIENCE) == 78
    assert "chmod 600" in inviting.server.log("gateway")


def test_a_known_key_without_the_secret_is_refused(inviting: Inviting) -> None:
    with dealer(inviting.server, parse(inviting.file.read_text())) as (ask, _):
        answer = ask(hello("guessed"))
        assert isinstance(answer, Refused) and "secret" in answer.error


def test_a_guest_that_calls_itself_by_our_name_has_none_of_our_processes_watched(
    inviting: Inviting,
) -> None:
    """On this machine its pid belongs to another process, which must not be killed."""
    bystander = subprocess.Popen(["sleep", "100"])
    try:
        join_file = parse(inviting.file.read_text())
        with dealer(inviting.server, join_file, bystander.pid) as (ask, _):
            said = hello(join_file.secret, bystander.pid, host=os.uname().nodename)
            assert isinstance(ask(said), Welcome)
            log = until(
                lambda: [x for x in inviting.server.log("gateway").splitlines() if "silent" in x],
                "the silence to be noticed",
            )
        assert str(bystander.pid) in log[0]
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_strangers_get_no_word_whatever_they_say(inviting: Inviting) -> None:
    join_file = parse(inviting.file.read_text())
    stranger = zmq.curve_keypair()[1].decode()
    other = zmq.curve_public(stranger.encode()).decode()
    for spoiled in (
        JoinFile(join_file.gateway, join_file.gateway_key, stranger, join_file.secret),
        JoinFile(join_file.gateway, other, join_file.worker_key, join_file.secret),
        None,  # without CURVE
    ):
        with dealer(inviting.server, spoiled, address=join_file.gateway) as (_, socket):
            socket.send(encode(hello(join_file.secret)))
            assert not socket.poll(500)
    log = inviting.server.log("gateway")
    assert "joined" not in log and "Traceback" not in log


def hello(secret: str, pid: int = 4711, host: str = "elsewhere") -> Hello:
    return Hello(PROTOCOL_VERSION, "echo", pid, 1, secret=secret, host=host)


@contextlib.contextmanager
def dealer(
    server: Home, join_file: JoinFile | None, pid: int = 4711, address: str = ""
) -> Iterator[tuple]:  # type: ignore[type-arg]
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.identity = f"echo.{pid}.x".encode()
    if join_file:
        socket.curve_secretkey = join_file.worker_key.encode()
        socket.curve_publickey = zmq.curve_public(join_file.worker_key.encode())
        socket.curve_serverkey = join_file.gateway_key.encode()
    socket.connect(address or join_file.gateway)  # type: ignore[union-attr]

    def ask(message: Hello) -> object:
        socket.send(encode(message))
        assert socket.poll(int(PATIENCE * 1000)), "no answer"
        answer = decode(socket.recv())
        return ask(message) if isinstance(answer, Introduce) else answer

    try:
        yield ask, socket
    finally:
        context.destroy(linger=0)


# Two network namespaces with a veth pair, in place of two machines.


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def two_machines() -> Iterator[tuple[str, str]]:
    """Names of the namespaces, which have the addresses 10.77.0.1 and 10.77.0.2."""
    names = f"lollms{os.getpid()}a", f"lollms{os.getpid()}b"
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ends = f"v{os.getpid()}a", f"v{os.getpid()}b"
            ip("link", "add", ends[0], "netns", names[0], "type", "veth",
               "peer", "name", ends[1], "netns", names[1])  # fmt: skip
            for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
                ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", end)
                for device in (end, "lo"):
                    ip("-n", name, "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces can be made: {error}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_a_worker_joins_from_another_network(two_machines: tuple[str, str], tmp_path: Path) -> None:
    here, there = two_machines
    port = free_port()
    with home(tmp_path / "home", **ECHO) as server:
        made = keys(server.folder, "worker", "rack7", f"10.77.0.1:{port}")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        file = shutil.copy(made.stdout.strip(), elsewhere / "rack7.join")
        server.start(
            "ip", "netns", "exec", here, sys.executable, "-m", "gateway",
            "--workers_tcp", f"10.77.0.1:{port}", name="gateway",
        )  # fmt: skip
        server.start(
            "ip", "netns", "exec", there, sys.executable, "-m", "worker", "echo",
            "--join", str(file), "--home", str(elsewhere), name="worker",
        )  # fmt: skip
        until(lambda: " holds echo " in server.log("gateway"), "the load over there")
        done = subprocess.run(
            ["ip", "netns", "exec", here, sys.executable, "-m", "chat", "--url", server.url,
             "--personality", ""],
            cwd=ROOT, input="through the cable\n", capture_output=True, text=True, timeout=30,
            check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "through the cable\n", "")


# Files of the keys.


def test_the_files_are_private_and_hold_what_they_should(tmp_path: Path) -> None:
    made = keys(tmp_path, "worker", "rack7", "gateway.example:9602")
    folder = tmp_path / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("gateway.key", "workers", "rack7.join"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    join_file = parse((folder / "rack7.join").read_text())
    listed = (folder / "workers").read_text()
    assert join_file.gateway == "tcp://gateway.example:9602" and join_file.port == 9602
    assert join_file.secret not in listed and join_file.worker_key not in listed
    for secret in (join_file.secret, join_file.worker_key):
        assert secret not in made.stderr + made.stdout
    keys(tmp_path, "worker", "rack8", "gateway.example:9602")
    assert parse((folder / "rack8.join").read_text()).gateway_key == join_file.gateway_key


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rack7", "nowhere"), "HOST:PORT"), (("rack7", "h:0"), "HOST:PORT"),
        (("rack7", "h:99999"), "HOST:PORT"), (("rack 7", "h:1"), "one word"),
        (("../7", "h:1"), "one word"),
    ],
)  # fmt: skip
def test_what_keys_will_not_make_is_one_sentence(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = keys(tmp_path, "worker", *words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "keys").exists()


def test_a_gateway_without_keys_or_with_a_taken_port_does_not_start(tmp_path: Path) -> None:
    port = free_port()
    with home(tmp_path, **ECHO) as server:
        command = (sys.executable, "-m", "gateway", "--workers_tcp", f"127.0.0.1:{port}")
        process = server.start(*command, name="gateway")
        assert process.wait(PATIENCE) == 2
        assert "gateway.keys worker NAME" in server.log("gateway")
        keys(tmp_path, "worker", "rack7", f"127.0.0.1:{port}")
        with zmq.Context() as context, context.socket(zmq.REP) as taken:
            taken.bind(f"tcp://127.0.0.1:{port}")
            process = server.start(*command, name="gateway")
            assert process.wait(PATIENCE) == 1
        assert f"cannot listen on tcp://127.0.0.1:{port}" in server.log("gateway")
        assert "Traceback" not in server.log("gateway")


GOOD = JoinFile("tcp://h:1", "a" * 40, "b" * 40, "s")


def test_a_join_file_is_read_as_it_was_written() -> None:
    assert parse(write(GOOD)) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "x", "1e999", "[" * 100_000,
        json.dumps({**json.loads(write(GOOD)), "gateway": "ipc:///tmp/x"}),
        json.dumps({**json.loads(write(GOOD)), "gateway": 7}),
        json.dumps({**json.loads(write(GOOD)), "worker_key": "short"}),
        json.dumps({**json.loads(write(GOOD)), "gateway_key": None}),
        json.dumps({**json.loads(write(GOOD)), "secret": ""}),
        json.dumps({**json.loads(write(GOOD)), "more": ""}),
    ],
)  # fmt: skip
def test_what_is_no_join_file_is_known_as_such(text: str) -> None:
    with pytest.raises(BadJoinFile):
        parse(text)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_worker_refuses_a_file_that_is_none_or_that_others_can_read(
    tmp_path: Path, mode: int
) -> None:
    file = tmp_path / "x.join"
    file.write_text("nonsense")
    file.chmod(mode)
    done = subprocess.run(
        [sys.executable, "-m", "worker", "echo", "--join", str(file)], cwd=ROOT,
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert ("chmod 600" if mode == 0o644 else "gateway.keys worker") in done.stderr


@pytest.mark.parametrize(
    ("address", "fit"),
    [
        ("tcp://h:1", True), ("tcp://1.2.3.4:65535", True), ("tcp://[::1]:9602", True),
        ("tcp://h:0", False), ("tcp://h", False), ("h:1", False), ("tcp://h:1/x", False),
        ("tcp://h:1\n", False), ("tcp://*:1", False),
    ],
)  # fmt: skip
def test_addresses(address: str, fit: bool) -> None:
    assert is_address(address) is fit
