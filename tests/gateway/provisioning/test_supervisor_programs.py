"""What supervisor is told, and what is read from what it says."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from gateway.config.binding_settings import AUTO_PROCESSES
from gateway.config.loading import load_settings
from gateway.config.settings import Settings
from gateway.provisioning.post_mortem import ending_of
from gateway.provisioning.supervisor_programs import folder, section, write_programs

LOG = """\
2026-11-23 05:10:01,101 INFO supervisord started with pid 4700
2026-11-23 05:10:02,105 INFO spawned: 'gateway' with pid 4701
2026-11-23 05:10:03,410 INFO spawned: 'echo_00' with pid 4711
2026-11-23 05:10:04,413 INFO success: echo_00 entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)
2026-11-23 05:10:05,502 WARN exited: echo_00 (terminated by SIGSEGV (core dumped); not expected)
2026-11-23 05:10:05,503 INFO spawned: 'echo_00' with pid 47111
2026-11-23 05:10:06,709 WARN exited: echo_00 (exit status 3; not expected)
2026-11-23 05:10:07,712 INFO spawned: 'echo_00' with pid 4712
2026-11-23 05:10:08,001 INFO spawned: 'echo_01' with pid 4713
2026-11-23 05:10:09,022 WARN exited: echo_01 (terminated by SIGKILL; not expected)
2026-11-23 05:10:09,500 INFO exited: echo_00 (exit status 0; expected)
2026-11-23 05:10:10,001 INFO spawned: 'my binding.x_00' with pid 4714
2026-11-23 05:10:10,501 INFO waiting for my binding.x_00 to stop
2026-11-23 05:10:10,505 INFO stopped: my binding.x_00 (terminated by SIGTERM)
2026-11-23 05:10:11,000 INFO spawned: 'echo_00' with pid 4715
2026-11-23 05:10:12,000 WARN killing 'echo_00' (4715) with SIGKILL
2026-11-23 05:10:12,100 WARN stopped: echo_00 (terminated by SIGKILL)
2026-11-23 05:10:13,000 INFO spawned: 'echo_00' with pid 4716
"""  # noqa: E501


@pytest.mark.parametrize(
    ("pid", "ending"),
    [
        (4711, "was killed by SIGSEGV"),
        (47111, "ended with exit code 3"),
        (4712, "ended with exit code 0"),
        (4713, "was killed by SIGKILL"),
        (4714, "was killed by SIGTERM"),
        (4715, "was killed by SIGKILL"),
        (4716, ""),  # it lives
        (471, ""),  # not a part of another pid
        (9999, ""),  # nobody's
    ],
)
def test_the_ending_of_this_very_process_is_read(pid: int, ending: str) -> None:
    assert ending_of(pid, LOG) == ending


def test_a_tail_that_begins_after_the_spawn_says_nothing() -> None:
    tail = LOG[LOG.index("success: echo_00") :]
    assert ending_of(4711, tail) == ""
    assert ending_of(4711, tail, "echo_00") == "was killed by SIGSEGV"
    assert ending_of(4712, tail, "echo_00") == "ended with exit code 0"


@pytest.mark.parametrize(
    "name", ["plain", "two words", "100% sure", "it's", 'say "hi"', "%(here)s", "%%", "été"]
)
def test_a_section_survives_supervisor_s_own_reading(tmp_path: Path, name: str) -> None:
    settings = settings_in(tmp_path / name)
    (tmp_path / name / "logs").mkdir(parents=True)
    program, *_ = read_by_supervisor(tmp_path, section(settings, "echo"))
    assert shlex.split(program.command) == [
        sys.executable, "-m", "worker", "echo", "--home", str(tmp_path / name),
        "--bindings_path", str(settings.bindings_path),
        "--models_path", str(settings.models_path), "--memory_limit", "0", "--allow", "",
        "--sandbox", "yes",
        "--log_level", "INFO", "--log_format", "text",
    ]  # fmt: skip
    assert program.stderr_logfile == str(tmp_path / name / "logs" / "echo_00.log")
    assert program.name == "echo_00"
    assert program.autostart is False and program.stopasgroup and program.killasgroup
    assert 78 in program.exitcodes


def test_a_pool_has_as_many_processes_as_the_config_says(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("bindings:\n  echo:\n    processes: 3\n")
    (tmp_path / "logs").mkdir()
    programs = read_by_supervisor(tmp_path, section(settings_in(tmp_path), "echo"))
    assert [program.name for program in programs] == ["echo_00", "echo_01", "echo_02"]


def test_an_automatic_pool_has_room_and_starts_nothing_by_itself(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    programs = read_by_supervisor(tmp_path, section(settings_in(tmp_path), "echo"))
    assert len(programs) == AUTO_PROCESSES
    assert not any(program.autostart for program in programs)


def test_a_worker_is_told_what_of_its_card_s_requests_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("bindings: {echo: {allow: [writes, network]}}\n")
    (tmp_path / "logs").mkdir()
    program, *_ = read_by_supervisor(tmp_path, section(settings_in(tmp_path), "echo"))
    command = shlex.split(program.command)
    assert command[command.index("--allow") + 1] == "network,writes"


def test_exactly_the_bindings_that_are_there_have_a_section(tmp_path: Path) -> None:
    settings, run = settings_in(tmp_path), tmp_path / "run"
    run.mkdir()
    write_programs(settings, run, ["one", "two"])
    write_programs(settings, run, ["two", "three"])
    assert sorted(path.name for path in folder(run).iterdir()) == ["three.conf", "two.conf"]


def settings_in(home: Path) -> Settings:
    return load_settings(["--home", str(home)], {})


def read_by_supervisor(home: Path, text: str) -> list[Any]:
    """The process configurations that supervisord makes of it."""
    conf = home / "supervisord.conf"
    conf.write_text(f"[supervisord]\n\n{text}")
    options = ServerOptions()
    options.realize(["-c", str(conf)], doc="")
    (group,) = options.process_group_configs
    programs: list[Any] = group.process_configs
    return programs
