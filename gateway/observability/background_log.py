"""Write log lines in a thread, so that nobody waits for whoever reads stderr."""

import logging
import os
import queue
import sys
import threading

MAX_LINES = 10_000
"""Lines that may wait; more are dropped and counted."""
FLUSH_SECONDS = 1.0
"""What the process waits at its end for the lines that still wait."""


class BackgroundHandler(logging.Handler):
    """Formats in the calling thread, and writes in another."""

    def __init__(self, descriptor: int | None = None, max_lines: int = MAX_LINES) -> None:
        """`descriptor` is stderr's by default."""
        super().__init__()
        self.dropped = 0
        """Lines that were never written."""
        self._descriptor = sys.stderr.fileno() if descriptor is None else descriptor
        self._max_lines = max_lines
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._reported = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= self._max_lines:
            self.dropped += 1
            return
        try:
            self._report_dropped()
            self._lines.put(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of `logging`
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written, but no longer than FLUSH_SECONDS."""
        written = threading.Event()
        self._lines.put(written)
        if self._thread.is_alive():
            written.wait(FLUSH_SECONDS)

    def _report_dropped(self) -> None:
        new = self.dropped - self._reported
        if new:
            self._reported = self.dropped
            text = "%d log lines were dropped: stderr was not read"
            record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (new,), None)
            self._lines.put(self.format(record))

    def _write(self) -> None:
        """In the thread."""
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            content = f"{line}\n".encode(errors="replace")
            try:
                while content:
                    content = content[os.write(self._descriptor, content) :]
            except OSError:
                self.dropped += 1  # a closed pipe, a full disk


def dropped_lines() -> int:
    """Of all handlers of this process."""
    handlers = logging.getLogger().handlers
    return sum(each.dropped for each in handlers if isinstance(each, BackgroundHandler))
