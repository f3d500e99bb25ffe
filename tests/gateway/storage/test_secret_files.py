"""Each binding has a secret of its own, which ends with the gateway that wrote it."""

import stat
from pathlib import Path

import pytest

from gateway.storage.run_lock import run_lock
from protocol.run_folder import make_run_folder, secret_file, secrets_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_secrets_differ_and_are_private(tmp_path: Path) -> None:
    run = make_run_folder(tmp_path)
    secrets_folder(run).mkdir(mode=0o755)  # by a worker that was first
    with run_lock(run) as secrets:
        assert secrets.get("echo") == ""
        assert secrets.create("echo") and secrets.create("single")
        assert not secrets.create("echo"), "it has one"
        for name in ("echo", "single"):
            file = secret_file(run, name)
            assert file.read_text() == secrets.get(name) and len(secrets.get(name)) == 32
            assert (mode(file), mode(file.parent), mode(file.parent.parent)) == (
                0o600, 0o700, 0o700,
            )  # fmt: skip
        assert secrets.get("echo") != secrets.get("single")


def test_they_end_with_the_gateway_and_their_folders_stay_for_running_workers(
    tmp_path: Path,
) -> None:
    run = make_run_folder(tmp_path)
    with run_lock(run) as secrets:
        secrets.create("echo")
        first, folder = secrets.get("echo"), secret_file(run, "echo").parent.stat().st_ino
    assert not secret_file(run, "echo").exists()
    secret_file(run, "echo").write_text("of a gateway that was killed")
    with run_lock(run) as secrets:
        assert secrets.get("echo") == "" and secrets.create("echo")
        assert secret_file(run, "echo").read_text() == secrets.get("echo")
        assert secrets.get("echo") not in ("of a gateway that was killed", first)
        assert secret_file(run, "echo").parent.stat().st_ino == folder


def test_a_secret_that_cannot_be_written_is_said_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run_folder(tmp_path)
    secrets_folder(run).mkdir()
    (secrets_folder(run) / "echo").touch()  # where its folder should be
    with run_lock(run) as secrets:
        assert not secrets.create("echo") and secrets.get("echo") == ""
    assert "no worker of the binding echo can join" in caplog.text
