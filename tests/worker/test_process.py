"""A real worker process, with well-behaved and faulty gateways and bindings."""

import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import PROTOCOL_VERSION
from protocol.errors import ErrorCode
from protocol.messages import (
    Cancel,
    Credit,
    Detokenize,
    Detokenized,
    Failed,
    Finished,
    Generate,
    Heartbeat,
    Hello,
    Introduce,
    Load,
    LoadProgress,
    PromptProgress,
    Refused,
    Tokenize,
    Tokenized,
    Welcome,
)
from tests.support.fake_gateway import Gateway, log_of, worker

MISCHIEF = '''
"""Does what the prompt says."""

import ctypes
import os
import sys
import time
from pathlib import Path

from worker.binding import Binding, OutOfMemory, Piece

from .words import WORDS


class Mischief(Binding):
    slots = 4

    def load(self, model):
        if model.name == "deadly":
            os.abort()
        if model.name == "large":
            raise OutOfMemory(f"{model.mapped} bytes are mapped")
        if model.name == "mapped":
            model.progress(0.25)
            self.mapped = 1000
        print("loaded", model.path, dict(model.settings), file=sys.stderr, flush=True)

    def generate(self, request):
        what, _, argument = request.prompt.partition(" ")
        try:
            if what == "prompt":
                request.usage.prompt_tokens, request.usage.computed_tokens = 9, 5
                yield from (Piece(), Piece())  # the turns of its first pass
            for word in WORDS:
                yield Piece(word)
            if what == "segfault":
                ctypes.string_at(0)
            elif what == "sysexit":
                sys.exit(int(argument))
            elif what == "memory":
                raise MemoryError
            elif what == "sleep":
                time.sleep(float(argument))
            elif what == "native":
                ctypes.CDLL(None).sleep(int(argument))
            elif what == "surrogate":
                yield Piece("a\\ud800b")
            while what == "endless":
                time.sleep(0.001)
                yield Piece("and ")
        finally:
            if what == "endless":
                Path(argument).write_text("closed")


binding = Mischief
'''


@pytest.fixture
def bindings(tmp_path: Path) -> Path:
    """A bindings folder that is not the checkout's."""
    folder = tmp_path / "elsewhere"
    for name, code in (("mischief", MISCHIEF), ("broken", "import no_such_library\n")):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(textwrap.dedent(code))
    (folder / "mischief" / "words.py").write_text('WORDS = ["once ", "upon "]\n')
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def address(home: Path) -> str:
    return f"ipc://{home}/w"


@pytest.fixture
def gateway(address: str) -> Iterator[Gateway]:
    with Gateway(address) as opened:
        yield opened


def test_a_worker_says_hello_loads_and_streams(home: Path, gateway: Gateway, address: str) -> None:
    with worker("echo", home, "--gateway", address) as process:
        hello = gateway.welcome()
        assert hello.protocol == PROTOCOL_VERSION
        assert (hello.binding, hello.pid, hello.slots) == ("echo", process.pid, 64)
        assert (hello.model, hello.secret, hello.resumable) == ("", "", True)
        assert hello.host == os.uname().nodename
        assert gateway.worker.startswith(f"echo.{process.pid}.".encode())
        assert gateway.load("echo").slots == 64
        prompt = "Once upon  a time,\n\tthere was a 😀. "
        id = gateway.generate(prompt)
        assert gateway.finished(id).reason == "stop"
        assert gateway.text(id) == prompt


def test_tokens_and_text_come_back(home: Path, gateway: Gateway, address: str) -> None:
    with worker("echo", home, "--gateway", address):
        gateway.welcome()
        gateway.load("echo")
        there, back = gateway.id(), gateway.id()
        gateway.send(Tokenize(there, "é"))
        assert gateway.answer(there) == Tokenized(there, [0xC3, 0xA9])
        gateway.send(Detokenize(back, [0xC3, 0xA9]))
        assert gateway.answer(back) == Detokenized(back, "é")


def test_the_secret_is_read_from_the_run_folder_at_every_hello(home: Path) -> None:
    from protocol.run_folder import make_run_folder, secret_file, workers_address

    run = make_run_folder(home)
    secret_file(run, "echo").parent.mkdir(parents=True)
    secret_file(run, "echo").write_text("first\n")
    with Gateway(workers_address(run)) as gateway, worker("echo", home):
        assert gateway.welcome().secret == "first"
        secret_file(run, "echo").write_text("second")
        gateway.send(Introduce())
        assert gateway.until(Hello).secret == "second"


def test_hello_is_repeated_until_it_is_answered(home: Path, gateway: Gateway, address: str) -> None:
    with worker("echo", home, "--gateway", address):
        first, second = gateway.until(Hello), gateway.until(Hello)
        assert first == second
        gateway.send(Welcome(0.02, gateway.epoch))
        gateway.until(Heartbeat)


def test_a_generation_without_credit_waits_and_its_neighbours_do_not(
    home: Path, gateway: Gateway, address: str
) -> None:
    with worker("echo", home, "--gateway", address):
        gateway.welcome()
        gateway.load("lorem")
        slow = gateway.generate("x", n_predict=100, credit=10)
        quick = gateway.generate("x", n_predict=5000, credit=10**6)
        assert gateway.finished(quick).tokens == 5000
        gateway.settle()
        assert gateway.count(slow) == 10
        beat = gateway.until(Heartbeat)
        assert beat.active == 0, "waiting for credit is not hanging"
        gateway.send(Credit(slow, 5))
        gateway.until_count(slow, 15)
        gateway.send(Credit(slow, 1000))
        assert gateway.finished(slow).tokens == 100
        assert gateway.text(slow).split() == gateway.text(quick).split()[:100]


def test_a_cancelled_generation_ends_at_once_and_others_go_on(
    home: Path, gateway: Gateway, address: str
) -> None:
    with worker("echo", home, "--gateway", address):
        gateway.welcome()
        gateway.load("lorem-10ms")
        ids = [gateway.generate("x", n_predict=30) for _ in range(3)]
        gateway.until_count(ids[1], 3)
        gateway.send(Cancel(ids[1]))
        assert gateway.finished(ids[1]).reason == "cancelled"
        assert gateway.finished(ids[1]).tokens < 10
        assert [gateway.finished(id).tokens for id in (ids[0], ids[2])] == [30, 30]
        assert gateway.finished(ids[0]).reason == "length"


def test_sixteen_paced_generations_are_as_fast_as_one(
    home: Path, gateway: Gateway, address: str
) -> None:
    with worker("echo", home, "--gateway", address):
        gateway.welcome()
        gateway.load("lorem-10ms")
        began = time.monotonic()
        ids = [gateway.generate("x", n_predict=50) for _ in range(16)]
        assert [gateway.finished(id).tokens for id in ids] == [50] * 16
        assert 0.45 < time.monotonic() - began < 3, "one after the other it would take 8 s"


def test_introduce_drops_what_runs_and_keeps_the_model(
    home: Path, bindings: Path, gateway: Gateway, address: str
) -> None:
    closed = home / "tmp" / "mischief" / "closed"  # where alone it may write
    with worker("mischief", home, "--gateway", address, "--bindings_path", str(bindings)):
        gateway.welcome()
        gateway.load("any")
        id = gateway.generate(f"endless {closed}", credit=10**9)
        gateway.until_count(id, 10)
        gateway.send(Introduce())
        gateway.messages.clear()
        assert gateway.until(Hello, lambda hello: hello.model == "any").slots == 4
        gateway.send(Welcome(0.05, gateway.epoch))
        gateway.settle()
        assert closed.read_text() == "closed"
        assert gateway.load("any").model == "any"
        assert log_of(home).count("loaded None") == 1


def test_progress_and_memory_of_a_load_are_told_and_kept_for_the_next_gateway(
    home: Path, bindings: Path, gateway: Gateway, address: str
) -> None:
    with worker("mischief", home, "--gateway", address, "--bindings_path", str(bindings)):
        assert gateway.welcome().mapped == 0
        assert gateway.load("mapped").mapped == 1000
        [told] = [each for each in gateway.messages if isinstance(each, LoadProgress)]
        assert told.fraction == 0.25
        id = gateway.id()
        gateway.send(Load(id, "large", mapped=77))
        assert gateway.failed(id) == Failed(id, ErrorCode.NO_MEMORY, "77 bytes are mapped")
        gateway.send(Introduce())
        hello = gateway.until(Hello, lambda hello: hello.model == "mapped")
        assert (hello.mapped, hello.models) == (1000, {})


def test_the_progress_of_a_prompt_comes_before_its_text(
    home: Path, bindings: Path, gateway: Gateway, address: str
) -> None:
    with worker("mischief", home, "--gateway", address, "--bindings_path", str(bindings)):
        gateway.welcome()
        gateway.load("any")
        id = gateway.generate("prompt", progress=True)
        told = gateway.until(PromptProgress)
        assert told == PromptProgress(id, 5, 9, 0) and gateway.text(id) == ""
        gateway.finished(id)
        assert gateway.text(id) == "once upon "


def test_a_refused_worker_exits_with_78(home: Path, gateway: Gateway, address: str) -> None:
    with worker("echo", home, "--gateway", address) as process:
        gateway.until(Hello)
        gateway.send(Refused(ErrorCode.REFUSED, "the secret is\nnot mine"))
        assert process.wait(10) == 78
    assert "refused this worker: the secret is\\nnot mine" in log_of(home).splitlines()[-1]


def test_work_stops_within_a_second_of_the_gateways_death_and_the_next_one_is_greeted(
    home: Path, bindings: Path, gateway: Gateway, address: str
) -> None:
    closed = home / "tmp" / "mischief" / "closed"  # where alone it may write
    with worker("mischief", home, "--gateway", address, "--bindings-path", str(bindings)):
        gateway.welcome(heartbeat=60)
        gateway.load("any")
        id = gateway.generate(f"endless {closed}", credit=10**9)
        gateway.until_count(id, 10)
        gateway.close()
        died = time.monotonic()
        while not closed.exists():
            assert time.monotonic() - died < 5
            time.sleep(0.005)
        assert time.monotonic() - died < 1.0
        with Gateway(address, epoch=2) as successor:
            assert successor.welcome().model == "any"
            again = successor.generate("two words", n_predict=2)
            assert successor.finished(again).tokens == 2
            old = [each for each in successor.messages if getattr(each, "id", again) != again]
            assert not old, "the dead gateway's requests are nothing to its successor"


def test_a_worker_waits_for_its_gateway_for_ever(home: Path, address: str) -> None:
    with worker("echo", home, "--gateway", address):
        for epoch in (1, 2, 3):
            with Gateway(address, epoch) as gateway:
                gateway.welcome()
                gateway.load("echo")
                assert gateway.finished(gateway.generate("a b")).tokens == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_ends_what_runs_tells_so_and_exits_cleanly(
    home: Path, gateway: Gateway, address: str, number: signal.Signals
) -> None:
    with worker("echo", home, "--gateway", address) as process:
        gateway.welcome()
        gateway.load("lorem-10ms")
        ids = [gateway.generate("x", n_predict=10_000) for _ in range(4)]
        for id in ids:
            gateway.until_count(id, 2)
        process.send_signal(number)
        assert {gateway.finished(id).reason for id in ids} == {"cancelled"}
        assert process.wait(2) == 0


def test_sigterm_without_a_gateway_ends_a_worker(home: Path, address: str) -> None:
    with Gateway(address) as gateway, worker("echo", home, "--gateway", address) as process:
        gateway.welcome()
        gateway.close()
        process.terminate()
        assert process.wait(2) == 0


@pytest.mark.parametrize("hang", ["sleep 30", "native 30"])
def test_a_worker_beats_and_ends_while_its_binding_hangs(
    home: Path, bindings: Path, gateway: Gateway, address: str, hang: str
) -> None:
    flags = ("--gateway", address, "--bindings_path", str(bindings))
    with worker("mischief", home, *flags) as process:
        gateway.welcome()
        gateway.load("any")
        id = gateway.generate(hang)
        gateway.until_count(id, 2)
        gateway.settle()
        beats = [gateway.until(Heartbeat) for _ in range(4)]
        assert {beat.active for beat in beats} == {1}
        assert len({beat.steps for beat in beats}) == 1, "a hung model makes no steps"
        began = time.monotonic()
        process.terminate()
        assert process.wait(5) == 0
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("prompt", "status"),
    [
        ("segfault", -signal.SIGSEGV), ("sysexit 3", 3), ("sysexit 0", 1), ("sysexit 78", 1),
        ("memory", 1),
    ],
)  # fmt: skip
def test_a_deadly_binding_kills_its_worker_and_says_how(
    home: Path, bindings: Path, gateway: Gateway, address: str, prompt: str, status: int
) -> None:
    flags = ("--gateway", address, "--bindings_path", str(bindings))
    with worker("mischief", home, *flags) as process:
        gateway.welcome()
        gateway.load("any")
        id = gateway.generate(prompt)
        assert process.wait(10) == status
        if prompt != "segfault":  # which leaves nobody a chance
            gateway.until_count(id, 2)
            assert gateway.text(id) == "once upon "
    assert {"segfault": "Fatal Python error: Segmentation fault", "memory": "MemoryError"}.get(
        prompt, "asked the process to exit"
    ) in log_of(home)


def test_a_model_that_kills_at_load(
    home: Path, bindings: Path, gateway: Gateway, address: str
) -> None:
    flags = ("--gateway", address, "--bindings_path", str(bindings))
    with worker("mischief", home, *flags) as process:
        gateway.welcome()
        gateway.send(Load(gateway.id(), "deadly"))
        assert process.wait(10) == -signal.SIGABRT


def test_what_cannot_be_sent_is_mended(
    home: Path, bindings: Path, gateway: Gateway, address: str
) -> None:
    with worker("mischief", home, "--gateway", address, "--bindings_path", str(bindings)):
        gateway.welcome()
        gateway.load("any", path=str(home / "file"), settings={"n_ctx": 5})
        id = gateway.generate("surrogate")
        gateway.finished(id)
        assert gateway.text(id) == "once upon a\ufffdb"
        assert f"loaded {home / 'file'} {{'n_ctx': 5}}" in log_of(home)


def test_garbage_is_dropped_and_complained_of_once_a_second(
    home: Path, gateway: Gateway, address: str
) -> None:
    with worker("echo", home, "--gateway", address):
        gateway.welcome()
        gateway.load("echo")
        for n in range(500):
            gateway.send_frames(b"\xc1garbage" + str(n).encode())
            gateway.send_frames(b"two", b"frames")
            gateway.send(Finished(1, "stop", 0))
        gateway.send(Generate(7 << 32, "still here"))
        assert gateway.answer(7 << 32) == Finished(7 << 32, "stop", 2)
    assert 1 <= log_of(home).count("dropped a frame") <= 5


def test_a_request_before_welcome_is_dropped(home: Path, gateway: Gateway, address: str) -> None:
    with worker("echo", home, "--gateway", address):
        gateway.until(Hello)
        gateway.send(Tokenize(1, "too early"))
        gateway.welcome()
        gateway.settle()
        assert not [each for each in gateway.messages if isinstance(each, Failed | Tokenized)]


def test_a_gateway_that_grants_without_end_and_reads_nothing_fills_no_memory(
    home: Path, gateway: Gateway, address: str
) -> None:
    with worker("echo", home, "--gateway", address) as process:
        gateway.welcome(heartbeat=60)
        gateway.load("lorem")
        before = _memory(process)
        id = gateway.generate("x", n_predict=2_000_000, credit=10**9)
        ticks, still = _processor(process), 0
        deadline = time.monotonic() + 20
        while still < 3:  # it filled what there is to fill, and stopped
            assert time.monotonic() < deadline, "it computes for nobody"
            time.sleep(0.1)
            now = _processor(process)
            still, ticks = (still + 1 if now == ticks else 0), now
        assert _memory(process) - before < 100e6
        gateway.send(Cancel(id))
        assert gateway.finished(id).tokens < 2_000_000


def _processor(process: subprocess.Popen[bytes]) -> int:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _memory(process: subprocess.Popen[bytes]) -> int:
    pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("missing", 78, "there is no binding named 'missing'"),
        ("empty", 78, "there is no binding named 'empty'"),
        ("../elsewhere/mischief", 78, "there is no binding named"),
        ("a\nb", 78, "there is no binding named 'a\\nb'"),
        ("broken", 1, "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"),
    ],
)
def test_a_binding_that_cannot_be_had_is_named_in_one_line(
    home: Path, bindings: Path, name: str, status: int, words: str
) -> None:
    with worker(name, home, "--gateway", "ipc:///nowhere", bindings_path=str(bindings)) as process:
        assert process.wait(20) == status
    last = log_of(home).splitlines()[-1]
    assert words in last
    assert ("Traceback" in log_of(home)) == (status == 1)


def test_an_address_that_is_none_is_named(home: Path) -> None:
    with worker("echo", home, gateway="nonsense") as process:
        assert process.wait(20) == 1
    assert "nonsense" in log_of(home).splitlines()[-1]


def test_prompts_and_answers_stay_out_of_the_log(
    home: Path, gateway: Gateway, address: str
) -> None:
    with worker("echo", home, "--gateway", address):
        gateway.welcome()
        gateway.load("echo")
        gateway.finished(gateway.generate("a secret prompt", conditioning="hush"))
    assert "secret" not in log_of(home) and "hush" not in log_of(home)
