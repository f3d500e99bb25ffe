"""The sandbox: a worker reaches what it needs, and nothing else."""

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.messages import Hello
from protocol.run_folder import run_folder, secret_file, supervisor_key, supervisor_socket
from tests.support.fake_gateway import ROOT, Gateway, log_of, worker
from tests.support.harness import client
from tests.support.harness import home as server_home
from tests.support.harness import run as run_now
from worker.sandbox import landlock

PRISONER = '''
"""Tries what the prompt names, as malicious code would, and answers with the result."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from worker.binding import Binding, Piece


def tcp(port):
    with socket.create_connection(("127.0.0.1", int(port)), 5):
        return "connected"


def udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", int(port)))
        return str(out.send(b"secret"))


def abstract(name):
    with socket.socket(socket.AF_UNIX) as out:
        out.connect("\\0" + name)
        return "connected"


def unix(path):
    with socket.socket(socket.AF_UNIX) as out:
        out.connect(path)
        return "connected"


def segment(key):
    """Of System V shared memory, of any size."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.shmget(int(key), ctypes.c_size_t(0), 0) < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    return "attached"


def fork(times):
    """Number of processes that it could start; all are gone afterwards."""
    children = []
    try:
        while len(children) < int(times):
            child = os.fork()
            if not child:
                signal.pause()
                os._exit(0)
            children.append(child)
    except OSError:
        pass
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return str(len(children))


def allocate(mebibytes):
    return str(len(bytearray(int(mebibytes) * 2**20)))


def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(field))


def mount(path):
    if ctypes.CDLL(None, use_errno=True).mount(b"none", path.encode(), b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")
    return "mounted"


TRICKS = {
    "read": lambda path: Path(path).read_text(),
    "list": lambda path: " ".join(sorted(os.listdir(path))),
    "write": lambda path: str(Path(path).write_text("mine")),
    "unlink": lambda path: str(os.unlink(path)),
    "temporary": lambda _: tempfile.mkdtemp(),
    "kill": lambda pid: str(os.kill(int(pid), 0)),
    "stop": lambda pid: str(os.kill(int(pid), signal.SIGSTOP)),
    "memory": lambda pid: str(len(Path("/proc", pid, "environ").read_bytes())),
    "interfaces": lambda _: " ".join(name for _, name in socket.if_nameindex()),
    "cores": lambda _: str(resource.getrlimit(resource.RLIMIT_CORE)),
    "run": lambda program: subprocess.run(program.split(), capture_output=True, text=True).stdout,
    "thread": lambda _: str(threading.Thread(target=print).start()),
    "tcp": tcp, "udp": udp, "abstract": abstract, "allocate": allocate, "status": status,
    "mount": mount, "unix": unix, "segment": segment, "fork": fork,
}


class Prisoner(Binding):
    def load(self, model):
        self.content = Path(model.path).read_text() if model.path else ""

    def generate(self, request):
        what, _, argument = request.prompt.partition(" ")
        try:
            yield Piece(TRICKS[what](argument) or "nothing")
        except (OSError, MemoryError) as error:
            yield Piece(f"{type(error).__name__}: {error}")


binding = Prisoner
'''


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with secrets of the gateway, and the binding."""
    (tmp_path / "tokens").write_text("alice secret")
    (tmp_path / "state.json").write_text("{}")
    folder = tmp_path / "bindings" / "prisoner"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PRISONER)
    (folder / "binding_card.yaml").write_text("name: prisoner\n")
    return tmp_path


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    folder = Path("/tmp") / f"lollms-test-{os.getpid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with Gateway(f"ipc://{folder}/workers.sock") as opened:
        yield opened
    shutil.rmtree(folder)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class Prison:
    """A worker that tries what the sandbox must prevent."""

    def __init__(self, gateway: Gateway, hello: Hello) -> None:
        self.gateway = gateway
        self.sandbox = hello.sandbox
        self.base = self.beside = Path()  # for those who keep it in a folder of their own
        gateway.load("any")

    def tries(self, what: str, argument: object = "") -> str:
        id = self.gateway.generate(f"{what} {argument}")
        self.gateway.finished(id)
        return self.gateway.text(id)


def imprisoned(gateway: Gateway, home: Path, *flags: str, **settings: str) -> Any:
    return worker(
        "prisoner", home, "--gateway", gateway.address,
        "--bindings_path", str(home / "bindings"), *flags, **settings,
    )  # fmt: skip


def is_refused(answer: str) -> bool:
    """What it may not know of is not there."""
    errors = "PermissionError", "OSError", "FileNotFoundError", "ConnectionRefused", "TimeoutError"
    return answer.startswith(errors)


linux = pytest.mark.skipif(
    sys.platform != "linux" or not landlock.version(), reason="there is no Landlock here"
)


@linux
def test_files_are_out_of_reach_but_those_that_it_needs(gateway: Gateway, home: Path) -> None:
    (home / "models" / "prisoner").mkdir(parents=True)
    model = home / "models" / "prisoner" / "model.bin"
    model.write_text("weights")
    with imprisoned(gateway, home):
        prison = Prison(gateway, gateway.welcome())
        assert prison.sandbox["files"] == "confined"
        for secret in (home / "tokens", home / "state.json", Path(__file__), Path.home()):
            assert is_refused(prison.tries("read", secret)), secret
        assert is_refused(prison.tries("list", home)) and is_refused(prison.tries("list", "/tmp"))
        for place in (
            home / "new", home / "tokens", model, "/tmp/new", "/etc/new", ROOT / "new",
            home / "bindings" / "prisoner" / "__init__.py", "/dev/shm/../../tmp/new", "/dev/new",
        ):  # fmt: skip
            assert is_refused(prison.tries("write", place)), place
        assert is_refused(prison.tries("unlink", home / "state.json"))
        assert prison.tries("read", model) == "weights"
        gateway.load("model.bin", path=str(model))
        assert prison.tries("read", "/proc/self/comm").strip()
        assert prison.tries("write", "/dev/null") == "4"
        scratch = home / "tmp" / "prisoner"
        assert prison.tries("write", scratch / "new") == "4"
        assert prison.tries("temporary").startswith(str(scratch))
        assert prison.tries("run", "/bin/echo said") == "said\n"
        assert prison.tries("thread") == "None"
        assert (home / "tokens").read_text() == "alice secret" and not (home / "new").exists()


@linux
def test_there_is_no_network(gateway: Gateway, home: Path, listening: int) -> None:
    with imprisoned(gateway, home):
        prison = Prison(gateway, gateway.welcome())
        assert prison.sandbox["network"].startswith("confined")
        assert is_refused(prison.tries("tcp", listening))
        if prison.sandbox["network"] == "confined":
            assert prison.tries("interfaces") == "lo"
            assert is_refused(prison.tries("udp", listening))


@linux
def test_other_processes_are_out_of_reach(gateway: Gateway, home: Path) -> None:
    name = f"lollms-test-{os.getpid()}"
    with imprisoned(gateway, home), socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen()
        prison = Prison(gateway, gateway.welcome())
        assert is_refused(prison.tries("memory", os.getpid()))
        assert is_refused(prison.tries("abstract", name))
        if landlock.version() >= landlock.SCOPES_SINCE:
            assert is_refused(prison.tries("kill", os.getpid()))
            assert is_refused(prison.tries("stop", os.getppid()))


@linux
def test_it_gains_no_privileges_and_dumps_no_core(gateway: Gateway, home: Path) -> None:
    with imprisoned(gateway, home):
        prison = Prison(gateway, gateway.welcome())
        assert prison.sandbox["privileges"] == prison.sandbox["core_dumps"] == "confined"
        assert prison.tries("status", "NoNewPrivs") == "1"
        assert prison.tries("cores") == "(0, 0)"
        assert is_refused(prison.tries("mount", home / "tmp"))
        powers = int(prison.tries("status", "CapEff"), 16)
        assert powers & ~(1 << 1 | 1 << 14) == 0


def test_its_memory_is_limited_where_the_configuration_says_so(
    gateway: Gateway, home: Path
) -> None:
    with imprisoned(gateway, home, memory_limit="300"):
        prison = Prison(gateway, gateway.welcome())
        assert prison.sandbox["memory"] == "300 MiB"
        assert prison.tries("allocate", 1000).startswith("MemoryError")
        assert prison.tries("allocate", 50) == str(50 * 2**20)  # and it lives
    with imprisoned(gateway, home):
        prison = Prison(gateway, gateway.welcome())
        assert "memory" not in prison.sandbox and "GiB" not in prison.tries("allocate", 400)


def test_a_card_gets_what_the_operator_allows(gateway: Gateway, home: Path, listening: int) -> None:
    for name in ("cache", "notes"):
        (home / name).mkdir()
        (home / name / "there").write_text("x")
    (home / "bindings" / "prisoner" / "binding_card.yaml").write_text(
        f"network: true\nreads: {home / 'cache'}\nwrites: [{home / 'notes'}, /nowhere]\n"
    )
    with imprisoned(gateway, home, allow="network,reads,writes"):
        prison = Prison(gateway, gateway.welcome())
        assert prison.sandbox["network"] == (
            "open: the binding's card asks for the network, and the configuration allows it"
        )
        granted = f"reads {home / 'cache'}", f"writes {home / 'notes'}, /nowhere"
        assert prison.sandbox["card"] == f"asks for network, {', '.join(granted)}: allowed"
        assert prison.tries("tcp", listening) == "connected"
        assert prison.tries("read", home / "cache" / "there") == "x"
        assert prison.tries("write", home / "notes" / "there") == "4"
        if prison.sandbox["files"].startswith("confined"):
            assert prison.sandbox["files"] == f"confined, and {', and '.join(granted)}"
            assert is_refused(prison.tries("write", home / "cache" / "there"))
            assert is_refused(prison.tries("read", home / "tokens"))


@linux
@pytest.mark.parametrize("allowed", ["", "reads"])
def test_a_card_gets_nothing_that_the_operator_did_not_allow(
    gateway: Gateway, home: Path, listening: int, allowed: str
) -> None:
    (home / "notes").mkdir()
    (home / "notes" / "there").write_text("x")
    (home / "bindings" / "prisoner" / "binding_card.yaml").write_text(
        f"network: true\nwrites: {home / 'notes'}\n"
    )
    with imprisoned(gateway, home, "--allow", allowed):
        prison = Prison(gateway, gateway.welcome())
        assert prison.sandbox["network"].startswith("confined")
        assert prison.sandbox["files"] == "confined"
        said = (
            f"asks for network, writes {home / 'notes'}: not allowed; "
            "bindings.prisoner.allow in config.yaml"
        )
        assert prison.sandbox["card"] == said
        assert is_refused(prison.tries("tcp", listening))
        assert is_refused(prison.tries("read", home / "notes" / "there"))
        assert is_refused(prison.tries("write", home / "notes" / "there"))
    assert log_of(home).count(f"the card of prisoner {said}") == 1


@pytest.mark.parametrize("card", ["", "[1", "network: yes please", "- network: true", "reads: 7"])
def test_a_card_that_says_nothing_clear_asks_for_nothing(
    gateway: Gateway, home: Path, card: str, listening: int
) -> None:
    (home / "bindings" / "prisoner" / "binding_card.yaml").write_text(card)
    with imprisoned(gateway, home, allow="network,reads,writes"):
        prison = Prison(gateway, gateway.welcome())
        assert "card" not in prison.sandbox and "card" not in prison.sandbox["network"]


def test_it_can_be_switched_off(gateway: Gateway, home: Path, listening: int) -> None:
    with imprisoned(gateway, home, sandbox="no"):
        prison = Prison(gateway, gateway.welcome())
        assert set(prison.sandbox.values()) == {"open: switched off"}
        assert {"files", "network", "sockets", "shared_memory"} <= set(prison.sandbox)
        assert prison.tries("read", home / "tokens") == "alice secret"
        assert prison.tries("tcp", listening) == "connected"


needs_unshare = pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False).returncode != 0,
    reason="there are no user namespaces here",
)


@linux
@needs_unshare
def test_without_namespaces_landlock_still_refuses_tcp(
    gateway: Gateway, home: Path, listening: int
) -> None:
    """What the system does not have keeps no worker from starting, and is reported."""
    command = (
        "echo 0 > /proc/sys/user/max_net_namespaces; echo 0 > /proc/sys/user/max_mnt_namespaces; "
        "echo 0 > /proc/sys/user/max_ipc_namespaces; exec "
        f"{sys.executable} -m worker prisoner --home {home} --gateway {gateway.address} "
        f"--bindings_path {home / 'bindings'}"
    )
    process = subprocess.Popen(
        ["unshare", "-Ur", "sh", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        prison = Prison(gateway, gateway.welcome())
        if landlock.version() >= landlock.NETWORK_SINCE:
            assert prison.sandbox["network"] == "confined: no TCP"
            assert is_refused(prison.tries("tcp", listening))
        else:
            assert prison.sandbox["network"].startswith("open: ")
        for measure in ("sockets", "shared_memory", "processes"):
            assert prison.sandbox[measure].startswith("open: "), measure
        assert prison.sandbox["files"] == "confined"
        assert is_refused(prison.tries("read", home / "tokens"))
    finally:
        process.kill()
        process.wait()


@linux
@needs_unshare
def test_without_powers_and_user_namespaces_files_are_out_of_reach_and_the_rest_is_said(
    gateway: Gateway, home: Path, listening: int
) -> None:
    """As in most containers."""
    if not shutil.which("setpriv"):
        pytest.skip("there is no setpriv here")
    command = (
        "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all "
        f"{sys.executable} -m worker prisoner --home {home} --gateway {gateway.address} "
        f"--bindings_path {home / 'bindings'}"
    )
    process = subprocess.Popen(
        ["unshare", "-Ur", "sh", "-c", command], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        prison = Prison(gateway, gateway.welcome())
        for measure in ("sockets", "shared_memory", "processes"):
            assert prison.sandbox[measure].startswith("open: "), measure
        assert prison.sandbox["files"] == "confined"
        assert is_refused(prison.tries("read", home / "tokens"))
        if landlock.version() >= landlock.NETWORK_SINCE:
            assert is_refused(prison.tries("tcp", listening))
    finally:
        process.kill()
        process.wait()


@linux
def test_links_lead_to_what_a_worker_may_reach_and_to_nothing_else(
    gateway: Gateway, home: Path
) -> None:
    """In a root of its own they have to be there as they are outside."""
    (home / "disk" / "models" / "prisoner").mkdir(parents=True)
    (home / "disk" / "models" / "prisoner" / "model.bin").write_text("weights")
    (home / "disk" / "diary").write_text("dear diary")
    (home / "first").symlink_to(home / "disk")
    (home / "link").symlink_to("first/../disk/models")
    (home / "disk" / "models" / "prisoner" / "out").symlink_to(home / "disk" / "diary")
    (home / "loop").symlink_to(home / "loop")
    (home / "bindings" / "prisoner" / "binding_card.yaml").write_text(
        f"reads: [{home / 'loop'}, {home / 'nowhere' / 'at all'}]\n"
    )
    with imprisoned(gateway, home, "--models_path", str(home / "link"), allow="reads"):
        prison = Prison(gateway, gateway.welcome())
        path = home / "link" / "prisoner" / "model.bin"
        assert prison.tries("read", path) == "weights"
        assert prison.tries("read", path.resolve()) == "weights"
        assert is_refused(prison.tries("read", path.with_name("out")))
        assert is_refused(prison.tries("read", home / "disk" / "diary"))


@linux
def test_who_may_use_the_whole_file_tree_keeps_it_and_that_is_said(
    gateway: Gateway, home: Path
) -> None:
    (home / "bindings" / "prisoner" / "binding_card.yaml").write_text("reads: /\n")
    with imprisoned(gateway, home, allow="reads"):
        prison = Prison(gateway, gateway.welcome())
        assert prison.sandbox["sockets"] == "open: the binding may use the whole file tree"
        assert prison.sandbox["files"] == "confined, and reads /"
        assert prison.tries("read", home / "tokens") == "alice secret"
        assert is_refused(prison.tries("write", home / "tokens"))


needs_setpriv = pytest.mark.skipif(
    not shutil.which("setpriv") or os.getuid() != 0, reason="powers are root's to give up"
)


@linux
@needs_unshare
@needs_setpriv
@pytest.mark.parametrize(
    ("kept", "alone"),
    [("-all,+setfcap", True), ("-all", False)],  # root's own user map needs this one
)
def test_who_has_no_powers_makes_a_namespace_or_says_why_not(
    gateway: Gateway, home: Path, listening: int, kept: str, alone: bool
) -> None:
    process = subprocess.Popen(
        ["setpriv", f"--bounding-set={kept}", sys.executable, "-m", "worker", "prisoner",
         "--home", str(home), "--gateway", gateway.address,
         "--bindings_path", str(home / "bindings")],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        prison = Prison(gateway, gateway.welcome())
        if alone:
            assert prison.sandbox["network"] == "confined"
            assert prison.tries("interfaces") == "lo"
        assert prison.sandbox["network"].startswith(("confined", "open: "))
        assert prison.sandbox["files"] == "confined"
        assert is_refused(prison.tries("tcp", listening))
        assert prison.tries("status", "Uid:") == str(os.getuid())  # and it is who it was
        assert is_refused(prison.tries("read", home / "tokens"))
    finally:
        process.kill()
        process.wait()


@linux
@needs_unshare
def test_who_is_not_root_leaves_the_network_too_and_stays_who_he_is() -> None:
    script = """
        import ctypes, os, socket
        from worker.sandbox.confine import _drop_capabilities
        from worker.sandbox.namespaces import leave_network, own_users
        if not os.getuid():
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as if it had always been so
        before = os.getuid(), os.getgid()
        assert own_users()
        leave_network()
        _drop_capabilities()
        assert (os.getuid(), os.getgid()) == before
        status = open("/proc/self/status").read()
        assert "CapEff:\\t0000000000000000" in status
        print(*(name for _, name in socket.if_nameindex()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True,
        timeout=20, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("lo\n", "")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--memory_limit", "much"], "'much'"), (["--memory_limit", "-1"], "MiB"),
        (["--allow", "everything"], "'everything'"), (["--sandbox", "maybe"], "'maybe'"),
        (["--log_format", "xml"], "'xml'"), (["--log_level", "loud"], "'loud'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_sentence(flags: list[str], expected: str, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "prisoner", *flags], cwd=ROOT, capture_output=True,
        text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and expected in done.stderr and "Traceback" not in done.stderr


@linux
def test_a_worker_cannot_have_supervisor_start_anything(tmp_path: Path, home: Path) -> None:
    """The socket is not there for it. Where it is, a password is needed that it cannot read."""
    request = (
        "import http.client, socket, sys\n"
        "c = http.client.HTTPConnection('x')\n"
        "c.sock = socket.socket(socket.AF_UNIX)\n"
        "c.sock.connect(sys.argv[1])\n"
        "c.request('POST', '/RPC2', '<methodCall><methodName>supervisor.getState</methodName>"
        "</methodCall>', {'Content-Type': 'text/xml'})\n"
        "print(c.getresponse().status)\n"
    )
    (home / "bindings" / "prisoner" / "ask.py").write_text(request)
    (home / "bindings" / "neighbour").mkdir()
    (home / "bindings" / "neighbour" / "binding_card.yaml").write_text("name: neighbour\n")
    settings = {"bindings_path": str(home / "bindings"), "binding_name": "prisoner"}
    with server_home(tmp_path / "home", **settings, model_name="any") as server:
        (home / "bindings" / "prisoner" / "models.yaml").write_text(
            "- {filename: any, model_type: api}\n"
        )
        server.launch()
        run = run_folder(server.folder)
        ours, theirs = secret_file(run, "prisoner"), secret_file(run, "neighbour")
        assert theirs.exists()
        ask = f"{sys.executable} {home}/bindings/prisoner/ask.py {supervisor_socket(run)}"

        async def scenario() -> None:
            async with client(server) as one:
                for prompt, answer in (
                    (f"run {ask}", "nothing"),
                    (f"read {supervisor_key(run)}", "PermissionError"),
                    (f"read /proc/{server.gateway_pid()}/environ", "PermissionError"),
                    (f"write {run}/programs/mine.conf", ("PermissionError", "OSError: [Errno 30]")),
                    (f"read {ours}", ours.read_text()),
                    (f"read {theirs}", "PermissionError"),
                ):
                    events = await one.generate(prompt)
                    assert events[-1][1]["text"].startswith(answer), (prompt, events[-1])

        run_now(scenario())
        [shown] = json.loads(server.http("/status")[1])["workers"]
        assert shown["sandbox"]["files"] == "confined"
        assert shown["sandbox"]["network"].startswith("confined")
        for pid in server.worker_pids():
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            assert supervisor_key(run).read_bytes() not in environment


@linux
def test_a_binding_that_needs_a_folder_outside_hears_how_to_get_it(
    gateway: Gateway, home: Path
) -> None:
    (home / "library").mkdir()
    (home / "library" / "data").write_text("x")
    package = home / "bindings" / "prisoner" / "__init__.py"
    package.write_text(f"open({str(home / 'library' / 'data')!r}).read()\n{PRISONER}")
    with imprisoned(gateway, home) as process:
        assert process.wait(20) == 1
    said = log_of(home).splitlines()[-1]
    assert "`reads:` in its card" in said and "bindings.prisoner.allow in config.yaml" in said
    (package.parent / "binding_card.yaml").write_text(f"reads: [{home / 'library'}]")
    with imprisoned(gateway, home, allow="reads"):
        Prison(gateway, gateway.welcome())
