"""A pseudo-terminal that runs `python -m chat`."""

import fcntl
import os
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.harness import PATIENCE, ROOT

CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.seen = ""
        self._master = master
        self._read = 0

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, text: str) -> str:
        """Wait for `text`; return the output since the last call, up to and including it."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.seen.find(text, self._read)) < 0:
            left = deadline - time.monotonic()
            assert left > 0 and self._more(left), f"no {text!r} in {self.seen[self._read :]!r}"
        new = self.seen[self._read : found + len(text)]
        self._read = found + len(text)
        return new

    def ended(self) -> int:
        """Wait for the end of the process; return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._more(max(0.0, deadline - time.monotonic())):
            pass
        return self.process.wait(PATIENCE)

    def _more(self, seconds: float) -> bool:
        """Read output; False if none came in time, or the process has closed it."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end was closed
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


@contextmanager
def chatting(url: str, *options: str) -> Iterator[Terminal]:
    master, slave = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "chat", "--url", url, *options],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # Makes Ctrl-C send SIGINT, as in any terminal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
    finally:
        os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)
