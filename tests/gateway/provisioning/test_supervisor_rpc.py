"""Whoever asks a supervisor that is gone, stuck or something else gets one clear error."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.provisioning import supervisor_rpc as control
from gateway.provisioning.supervisor_rpc import Unreachable, call_supervisor


def state(server: Any) -> Any:
    return server.supervisor.getState()


@contextmanager
def answering(path: Path, answer: bytes | None) -> Iterator[None]:
    """Something on this socket that is no supervisor; None never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        if answer is None:
            yield
            return

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        call_supervisor(tmp_path / "s", state)
    (tmp_path / "s").write_text("a file")
    with pytest.raises(Unreachable):
        call_supervisor(tmp_path / "s", state)


def test_a_supervisor_that_is_stuck_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "TIMEOUT_SECONDS", 0.2)
    began = time.monotonic()
    with answering(tmp_path / "s", None), pytest.raises(Unreachable):
        call_supervisor(tmp_path / "s", state)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x01\x02",
        b"",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<a><",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 99\r\n\r\n<a/>",
    ],
)
def test_what_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path / "s", answer), pytest.raises(Unreachable):
        call_supervisor(tmp_path / "s", state)
