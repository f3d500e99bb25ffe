"""A failed start of a worker is reported at once, with its last output; others go on."""

import asyncio
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.loading import load_settings
from gateway.errors import NoWorker
from gateway.provisioning.supervisor import Supervisor
from gateway.provisioning.supervisor_programs import folder, write_program
from gateway.provisioning.supervisor_rpc import call_supervisor
from protocol.run_folder import run_folder, supervisor_socket
from tests.support.harness import ROOT, Home, home, run, until

CARD = "name: {name}\n"
DYING = "import os, sys\nprint('no engine on board', file=sys.stderr, flush=True)\nos._exit(3)\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    bindings = tmp_path_factory.mktemp("bindings")
    shutil.copytree(ROOT / "bindings" / "echo", bindings / "echo")
    for name, code in (
        ("dying", DYING),
        ("given_up", DYING),
        ("mended", "raise RuntimeError('not yet')\n"),
        ("two words", ""),
        ("gateway", ""),
    ):
        (bindings / name).mkdir()
        (bindings / name / "binding_card.yaml").write_text(CARD.format(name=name))
        (bindings / name / "__init__.py").write_text(code)
    with home(
        tmp_path_factory.mktemp("home"), bindings_path=str(bindings), binding_name="echo",
        model_name="echo",
    ) as opened:  # fmt: skip
        opened.launch()
        yield opened


def supervision(server: Home) -> Supervisor:
    settings = load_settings([], server.environment)
    return Supervisor(settings, run_folder(settings.home))


def refusal(server: Home, binding: str) -> str:
    """The reason for which no worker of the binding can be started."""

    async def scenario() -> str:
        with pytest.raises(NoWorker) as caught:
            await supervision(server).start_worker(binding, asyncio.Event())
        return str(caught.value)

    return str(run(scenario()))


def asked(server: Home, work: Any) -> Any:
    return call_supervisor(supervisor_socket(run_folder(server.folder)), work)


def test_a_worker_that_dies_at_once_is_told_with_its_exit_code_and_its_last_words(
    server: Home,
) -> None:
    why = "its worker ended with exit code 3 (its last words: no engine on board)"
    assert refusal(server, "dying") == f"the binding dying cannot be started: {why}"

    # While supervisor waits before its next try, requests are refused without waiting.
    def backing_off() -> bool:
        return bool(
            asked(server, lambda s: s.supervisor.getProcessInfo("dying:dying_00"))["statename"]
            == "BACKOFF"
        )

    until(backing_off, "the wait")
    began = time.monotonic()
    again = refusal(server, "dying")
    assert time.monotonic() - began < 1.0
    assert again == f"the binding dying cannot be started: {why}"
    assert server.http("/ready")[0] == 200


def test_one_that_supervisor_gave_up_is_left_alone_for_a_while(server: Home) -> None:
    settings = load_settings([], server.environment)
    section = folder(run_folder(server.folder)) / "given_up.conf"
    write_program(settings, run_folder(server.folder), "given_up")
    section.write_text(re.sub("startretries = .*", "startretries = 0", section.read_text()))

    def apply(s: Any) -> None:
        s.supervisor.reloadConfig()
        s.supervisor.removeProcessGroup("given_up")
        s.supervisor.addProcessGroup("given_up")

    asked(server, apply)
    refusal(server, "given_up")
    until(
        lambda: (
            asked(server, lambda s: s.supervisor.getProcessInfo("given_up:given_up_00"))[
                "statename"
            ]
            == "FATAL"
        ),
        "giving up",
    )
    began = time.monotonic()
    assert "exit code 3 (its last words: no engine on board)" in refusal(server, "given_up")
    assert time.monotonic() - began < 1.0
    other = asked(server, lambda s: s.supervisor.getProcessInfo("given_up:given_up_01"))
    assert not other["start"], "it is the same program, and would fail as well"


def test_a_binding_that_was_mended_is_found_by_supervisor_s_next_try(server: Home) -> None:
    assert "RuntimeError: not yet" in refusal(server, "mended")
    bindings = Path(server.settings["bindings_path"])
    shutil.copyfile(bindings / "echo" / "__init__.py", bindings / "mended" / "__init__.py")
    until(lambda: "mended_00" in server.supervised_pids(), "the next try")
    until(lambda: "worker mended" in server.log("gateway"), "its Hello")


@pytest.mark.parametrize("name", ["two words", "gateway"])
def test_a_name_that_supervisor_cannot_have_is_left_out_and_said(server: Home, name: str) -> None:
    assert f"warning: the binding folder {name!r} needs another name" in server.log("launch")
    assert "needs another name" in refusal(server, name)


def test_without_a_supervisor_there_is_one_sentence(tmp_path: Path) -> None:
    async def scenario() -> str:
        settings = load_settings(["--home", str(tmp_path)], {})
        nobody = Supervisor(settings, tmp_path)
        with pytest.raises(NoWorker) as caught:
            await nobody.start_worker("echo", asyncio.Event())
        return str(caught.value)

    assert run(scenario()) == (
        "no worker of the binding echo is running; start one with `python -m worker echo`"
    )
