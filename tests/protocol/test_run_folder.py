"""The run folder: short enough for its sockets, and private to its owner."""

import os
import socket
import stat
from pathlib import Path

import pytest

from protocol.run_folder import (
    SOCKET_NAME_LIMIT,
    make_run_folder,
    run_folder,
    supervisor_socket,
    workers_address,
)


def long_home(folder: Path) -> Path:
    return folder / ("long" * 20) / ("longer" * 20)


def test_the_run_folder_is_in_the_home() -> None:
    home = Path("/srv/lollms")
    assert run_folder(home) == Path("/srv/lollms/run")


def test_a_long_home_has_its_run_folder_elsewhere_and_always_the_same(tmp_path: Path) -> None:
    home = long_home(tmp_path)
    run = run_folder(home)
    assert tmp_path not in run.parents
    assert run == run_folder(home)
    assert run != run_folder(home / "other")


@pytest.mark.parametrize("depth", range(1, 110, 7))
def test_a_socket_fits_into_every_run_folder(tmp_path: Path, depth: int) -> None:
    run = run_folder(Path("/" + "h" * depth))
    longest = str(supervisor_socket(run)) + ".1234567"
    assert len(os.fsencode(longest)) <= SOCKET_NAME_LIMIT
    assert workers_address(run) == f"ipc://{run}/workers.sock"


def test_the_socket_of_a_long_home_can_be_bound(tmp_path: Path) -> None:
    run = make_run_folder(long_home(tmp_path))
    name = run / "workers.sock"
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(name))
    finally:
        name.unlink(missing_ok=True)
        run.rmdir()


def test_it_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "h"
    (home / "run").mkdir(parents=True, mode=0o777)
    (home / "run").chmod(0o777)
    run = make_run_folder(home)
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert make_run_folder(home) == run


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_folder_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "h"
    run = make_run_folder(home)
    os.chown(run, 12345, 12345)
    with pytest.raises(PermissionError, match=str(run)):
        make_run_folder(home)


def test_a_link_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "h"
    home.mkdir()
    (tmp_path / "elsewhere").mkdir()
    run = run_folder(home)
    run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        make_run_folder(home)
