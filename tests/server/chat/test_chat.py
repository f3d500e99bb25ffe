"""`python -m chat`, through pipes and in a terminal, against a real server."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.server.contract.test_generation import select
from tests.support.harness import PATIENCE, ROOT, Home, client, free_port, home, run
from tests.support.terminal import CTRL_C, CTRL_D, chatting

BARE = ("--personality", "")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home(
        tmp_path_factory.mktemp("chat"), bindings_path=str(ROOT / "bindings"),
        binding_name="echo", model_name="echo",
    ) as opened:  # fmt: skip
        opened.gateway()
        for _ in range(2):
            opened.worker("echo")
        opened.ready()
        yield opened


@pytest.fixture
def echo(server: Home) -> Home:
    return chosen(server, "echo")


@pytest.fixture
def slow(server: Home) -> Home:
    return chosen(server, "lorem-10ms")


def chosen(server: Home, model: str) -> Home:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "echo", model)

    run(scenario())
    return server


def piped(url: str, typed: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chat", "--url", url, *options], cwd=ROOT, input=typed,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def test_the_answer_is_printed_and_nothing_else(echo: Home) -> None:
    done = piped(echo.url, "Hello, world! é 🦉\n\nsecond  line\n/quit\nnever\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Hello, world! é 🦉\nsecond  line\n"


def test_the_end_of_the_input_is_the_end(echo: Home) -> None:
    done = piped(echo.url, "no line break")
    assert (done.returncode, done.stdout, done.stderr) == (0, "no line break\n", "")


def test_leaving_without_a_word_is_silent(echo: Home) -> None:
    for typed in ("", "/quit\n"):
        done = piped(echo.url, typed)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_personality_is_mounted_by_its_path(slow: Home) -> None:
    done = piped(slow.url, "Ahoy\n", "--personality", "english/fun/pirate")
    assert (done.returncode, done.stderr) == (0, "")
    name, answer = done.stdout.split("\n", 1)
    assert name.startswith("[") and "dolor" in answer


def test_a_personality_that_is_not_there_is_said(echo: Home) -> None:
    done = piped(echo.url, "hi\n", "--personality", "english/fun/nobody")
    assert "nobody" in done.stderr and done.stdout == "hi\n"


def test_without_a_server_it_is_one_sentence_and_exit_code_1() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = piped(url, "Hello\n")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and url in done.stderr and "make run" in done.stderr


def test_ctrl_c_cancels_the_answer_and_not_the_client(slow: Home) -> None:
    with chatting(slow.url, *BARE) as terminal:
        terminal.until("> ")
        terminal.type("go on\n")
        terminal.until("dolor ")
        terminal.type(CTRL_C)
        shown = terminal.until("> ")
        assert len(shown.split()) < 900  # 1,024 were asked for
        terminal.type("again\n")
        terminal.until("dolor ")
        terminal.type(CTRL_C)
        terminal.until("> ")
        terminal.type("/quit\n")
        assert terminal.ended() == 0
        assert "Traceback" not in terminal.seen


def test_ctrl_c_without_an_answer_says_how_to_leave(echo: Home) -> None:
    with chatting(echo.url, *BARE) as terminal:
        for _ in range(2):  # before the first answer, and after it
            terminal.until("> ")
            terminal.type(CTRL_C)
            terminal.until("/quit or Ctrl-D quits")
            terminal.until("> ")
            terminal.type("a word\n")
            terminal.until("a word\r\na word\r\n")
        terminal.until("> ")
        terminal.type(CTRL_D)
        assert terminal.ended() == 0
        assert "lost" not in terminal.seen and "Traceback" not in terminal.seen


def test_it_asks_for_a_personality_and_shows_what_can_be_typed(echo: Home) -> None:
    with chatting(echo.url) as terminal:
        assert "pirate" in terminal.until("number of the personality: ")
        terminal.type("0\n")
        assert "/quit" in terminal.until("> ")
        terminal.type("/help\n")
        assert "/model" in terminal.until("> ")
        terminal.type("/model\n")
        assert "lorem-10ms" in terminal.until("number of the model: ")
        terminal.type("\n")
        terminal.until("> ")
        terminal.type(CTRL_D)
        assert terminal.ended() == 0


def test_ctrl_c_while_it_asks_for_a_personality_leaves_no_hung_client(echo: Home) -> None:
    with chatting(echo.url) as terminal:
        terminal.until("number of the personality: ")
        terminal.type(CTRL_C)
        terminal.type(CTRL_D)
        terminal.type(CTRL_D)
        terminal.ended()
        assert "Traceback" not in terminal.seen
