"""A gateway for tests of a real worker process: one ROUTER, message by message."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import zmq

from protocol.codec import decode, encode
from protocol.messages import (
    Chunk,
    Chunks,
    Failed,
    Finished,
    Generate,
    Hello,
    Load,
    Loaded,
    LoadProgress,
    Message,
    PromptProgress,
    Welcome,
)

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20.0
"""Seconds after which a test fails; far more than any step takes."""

M = TypeVar("M", bound=Message)


class Gateway:
    """Keeps the messages of its worker in `messages`. Tests decide when to receive."""

    def __init__(self, address: str, epoch: int = 1) -> None:
        self.address = address
        self.epoch = epoch
        self.messages: list[Message] = []
        self.worker = b""
        self._last_id = epoch << 32

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.router_mandatory = True
        self.socket.bind(self.address)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect without notice, as a killed gateway does."""
        self._context.destroy(linger=0)

    def send(self, message: Message) -> None:
        self.send_frames(encode(message))

    def send_frames(self, *frames: bytes) -> None:
        self.socket.send_multipart([self.worker, *frames])

    def receive(self, seconds: float = PATIENCE) -> Message:
        if not self.socket.poll(int(seconds * 1000)):
            raise AssertionError(f"nothing came in {seconds} s; before: {self.messages[-5:]}")
        self.worker, frame = self.socket.recv_multipart()
        self.messages.append(decode(frame))
        return self.messages[-1]

    def until(self, kind: type[M], wanted: Callable[[M], bool] = lambda _: True) -> M:
        """The next message of a kind; `messages` keeps those before it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            message = self.receive(max(0.0, deadline - time.monotonic()))
            if isinstance(message, kind) and wanted(message):
                return message
        raise AssertionError(f"no such {kind.__name__}; last: {self.messages[-5:]}")

    def welcome(self, heartbeat: float = 0.05) -> Hello:
        hello = self.until(Hello)
        self.send(Welcome(heartbeat, self.epoch))
        return hello

    def id(self) -> int:
        self._last_id += 1
        return self._last_id

    def load(self, model: str, **fields: Any) -> Loaded:
        id = self.id()
        self.send(Load(id, model, **fields))
        answer = self.answer(id)
        assert isinstance(answer, Loaded), answer
        return answer

    def generate(self, prompt: str, **fields: Any) -> int:
        id = self.id()
        self.send(Generate(id, prompt, **fields))
        return id

    def answer(self, id: int) -> Message:
        for message in self.messages:
            if _answers(message, id):
                return message
        return self.until(Message, lambda message: _answers(message, id))

    def finished(self, id: int) -> Finished:
        answer = self.answer(id)
        assert isinstance(answer, Finished), answer
        return answer

    def failed(self, id: int) -> Failed:
        answer = self.answer(id)
        assert isinstance(answer, Failed), answer
        return answer

    def chunks(self, id: int) -> list[Chunk]:
        return [
            chunk
            for message in self.messages
            if isinstance(message, Chunks)
            for chunk in message.chunks
            if chunk.id == id
        ]

    def text(self, id: int) -> str:
        return "".join(chunk.text for chunk in self.chunks(id))

    def count(self, id: int) -> int:
        return sum(chunk.count for chunk in self.chunks(id))

    def until_count(self, id: int, tokens: int) -> None:
        while self.count(id) < tokens:
            self.receive()

    def settle(self) -> None:
        """Wait for two heartbeats: earlier messages have then been handled, and answered."""
        from protocol.messages import Heartbeat

        for _ in range(2):
            self.until(Heartbeat)


def _answers(message: Message, id: int) -> bool:
    meanwhile = isinstance(message, Chunks | LoadProgress | PromptProgress)
    return not meanwhile and getattr(message, "id", None) == id


@contextmanager
def worker(
    binding: str, folder: Path, *flags: str, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with `folder` as its home; killed at the end, whatever the test does."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LOLLMS_")}
    ours = {f"LOLLMS_{name.upper()}": value for name, value in settings.items()}
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", binding, "--home", str(folder), *flags],
            cwd=ROOT,
            env={**clean, **ours},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()


def log_of(folder: Path) -> str:
    return (folder / "worker.log").read_text(errors="replace")
