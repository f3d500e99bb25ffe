"""What a sandboxed worker reaches of other programs: their sockets, memory, and processes.

Each test runs as this user and, if that is root, also as another.
"""

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.another_user import (
    POSSIBLE,
    as_another_user,
    folder_of_another_user,
    give_to_another_user,
)
from tests.support.fake_gateway import ROOT, Gateway
from tests.worker.test_sandbox import PRISONER, Prison, is_refused
from worker.sandbox import landlock
from worker.sandbox.confine import PROCESSES

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not landlock.version(), reason="there is no Landlock here"
)

PEEL = """
import ctypes, os, socket, sys

libc = ctypes.CDLL(None)
print(libc.unshare(0x10000000 | 0x20000))  # a user namespace with all powers, and its mounts
libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
libc.umount2(sys.argv[1].encode(), 2)
folder = os.path.dirname(sys.argv[1])
for flags in (1, 1 | 0x8000):  # a copy of the folder without what is mounted on it, and with
    copy = libc.syscall(428, -100, folder.encode(), flags)
    for path in (sys.argv[1], f"/proc/self/fd/{copy}/{os.path.basename(sys.argv[1])}"):
        with socket.socket(socket.AF_UNIX) as out:
            try:
                out.connect(path)
                print("connected")
            except OSError as error:
                print(error.errno)
"""

USERS = ["this user"] if os.getuid() or not POSSIBLE else ["root", "another user"]


@contextmanager
def prison_of(user: str, card: str = "name: prisoner\n", *flags: str) -> Iterator[Prison]:
    """Its home is `home` beside the folder of the gateway's socket."""
    with folder_of_another_user() as base, ExitStack() as stack:
        (base / "spare").mkdir()
        binding = base / "home" / "bindings" / "prisoner"
        binding.mkdir(parents=True)
        (binding / "__init__.py").write_text(PRISONER)
        (binding / "binding_card.yaml").write_text(card)
        (binding / "peel.py").write_text(PEEL)
        run = base / "gateway"
        run.mkdir(mode=0o700)
        supervisor = stack.enter_context(listening_at(run / "supervisor.sock"))
        gateway = stack.enter_context(Gateway(f"ipc://{run}/workers.sock"))
        (run / "workers.sock").chmod(0o777)
        command = [
            sys.executable, "-m", "worker", "prisoner", "--home", str(base / "home"),
            "--gateway", gateway.address, "--bindings_path", str(binding.parent), *flags,
        ]  # fmt: skip
        if user == "another user":
            give_to_another_user(base)
            command = as_another_user(command, base / "spare")
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            prison = Prison(gateway, gateway.welcome())
            prison.base, prison.beside = base, supervisor
            yield prison
        finally:
            process.kill()
            process.wait()


@contextmanager
def listening_at(path: Path) -> Iterator[Path]:
    """A Unix socket that everybody may connect to."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o777)
        server.listen()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def needs(prison: Prison, measure: str) -> None:
    if prison.sandbox[measure].startswith("open"):
        pytest.skip(f"{measure}: {prison.sandbox[measure]}")


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("user", USERS)
def test_unix_sockets_of_other_programs_are_out_of_reach(user: str, network: bool) -> None:
    """D-Bus, docker, ssh-agent and X11 listen in such places; supervisor beside the gateway."""
    name = f"lollms-test-{os.getpid()}.sock"
    card, flags = ("network: true\n", ["--allow", "network"]) if network else ("", [])
    with prison_of(user, card, *flags) as prison, ExitStack() as stack:
        needs(prison, "sockets")
        assert prison.sandbox["sockets"] == "confined"
        (prison.base / "agent").mkdir()
        places = [prison.base / "agent" / name, prison.beside]
        for folder in ("/tmp", "/var/tmp", "/run", f"/run/user/{os.getuid()}", "/var/lib", "/srv"):
            if os.access(folder, os.W_OK):
                places.append(Path(folder, name))
        for place in places:
            if place != prison.beside:
                stack.enter_context(listening_at(place))
            assert is_refused(prison.tries("unix", place)), place
            for way in (f"/proc/self/root{place}", f"/proc/{os.getpid()}/root{place}"):
                assert is_refused(prison.tries("unix", way)), way
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0{name}")
        abstract.listen()
        assert is_refused(prison.tries("abstract", name))


@pytest.mark.parametrize("user", USERS)
def test_what_is_hidden_cannot_be_uncovered_in_another_namespace(user: str) -> None:
    """supervisor's socket lies under a mount; in a namespace of its own a process may mount."""
    with prison_of(user) as prison:
        needs(prison, "sockets")
        script = prison.base / "home" / "bindings" / "prisoner" / "peel.py"
        lines = prison.tries("run", f"{sys.executable} {script} {prison.beside}").splitlines()
        assert len(lines) == 5 and "connected" not in lines, lines


@pytest.mark.parametrize("user", USERS)
def test_a_socket_that_appears_in_a_shared_folder_is_said_to_be_open(user: str) -> None:
    """The folder of the gateway's socket has to stay visible: it should be nobody else's."""
    with prison_of(user) as prison:
        needs(prison, "sockets")
        assert prison.sandbox["sockets"] == "confined"
    with folder_of_another_user() as base:
        base.chmod(0o777)
        with Gateway(f"ipc://{base}/workers.sock") as gateway:
            home = base / "home"
            binding = home / "bindings" / "prisoner"
            binding.mkdir(parents=True)
            (binding / "__init__.py").write_text(PRISONER)
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "prisoner", "--home", str(home),
                 "--gateway", gateway.address, "--bindings_path", str(binding.parent)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                sandbox = gateway.welcome().sandbox
                assert sandbox["sockets"] == f"confined, except those in {base}"
            finally:
                process.kill()
                process.wait()


@pytest.mark.parametrize("user", USERS)
def test_shared_memory_of_other_programs_is_out_of_reach(user: str) -> None:
    name = Path("/dev/shm") / f"lollms-test-{os.getpid()}"
    key = 0x10115000 + os.getpid() % 0x1000
    libc = ctypes.CDLL(None, use_errno=True)
    segment = libc.shmget(key, ctypes.c_size_t(4096), 0o1666)  # IPC_CREAT, for everybody
    name.write_text("a frame of the screen")
    name.chmod(0o666)
    try:
        with prison_of(user) as prison:
            needs(prison, "shared_memory")
            assert prison.sandbox["shared_memory"] == "confined"
            assert prison.tries("list", "/dev/shm") == "nothing"
            assert is_refused(prison.tries("read", name))
            assert prison.tries("write", name) == "4"  # of its own
            assert prison.tries("read", name) == "mine"
            assert is_refused(prison.tries("segment", key))
            assert name.read_text() == "a frame of the screen"
    finally:
        name.unlink()
        libc.shmctl(segment, 0, None)  # IPC_RMID


@pytest.mark.parametrize("user", USERS)
def test_a_fork_bomb_ends_at_a_bound(user: str) -> None:
    with prison_of(user) as prison:
        if user == "root":
            assert prison.sandbox["processes"].startswith("open: root")
            return
        needs(prison, "processes")
        assert prison.sandbox["processes"] == f"confined: at most {PROCESSES} processes and threads"
        assert PROCESSES - 100 < int(prison.tries("fork", PROCESSES + 200)) < PROCESSES
        assert prison.tries("run", "/bin/echo still here") == "still here\n"


@pytest.mark.parametrize("user", USERS)
def test_a_worker_in_its_sandbox_finds_a_gateway_that_starts_again(user: str) -> None:
    """A new gateway makes a new socket, and a worker sees the folder, not the old one."""
    with prison_of(user) as prison:
        prison.gateway.close()
        with suppress(FileNotFoundError):
            (prison.base / "gateway" / "workers.sock").unlink()
        with Gateway(prison.gateway.address, epoch=2) as again:
            (prison.base / "gateway" / "workers.sock").chmod(0o777)
            assert again.welcome().binding == "prisoner"
