"""Log lines are written in order by a thread; a reader that stops stops nobody else."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from gateway.observability.background_log import BackgroundHandler


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with suppress(OSError):
            os.close(end)


def logger(handler: logging.Handler) -> logging.Logger:
    made = logging.getLogger(f"made.{id(handler)}")
    made.propagate = False
    made.handlers = [handler]
    return made


def read_all(reader: int) -> list[str]:
    os.set_blocking(reader, False)
    content = b""
    with suppress(BlockingIOError):
        while portion := os.read(reader, 2**20):
            content += portion
    return content.decode().splitlines()


def test_lines_are_written_in_order_and_flushed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    handler = BackgroundHandler(writer)
    with closing(handler):
        log = logger(handler)
        for number in range(100):
            log.warning("line %d é\ud800", number)
        handler.flush()
        assert read_all(reader) == [f"line {number} é?" for number in range(100)]
        assert handler.dropped == 0


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    handler = BackgroundHandler(writer, max_lines=1000)
    with closing(handler):
        log = logger(handler)
        began = time.monotonic()
        for number in range(5000):
            log.warning("%d %s", number, "x" * 100)
        assert time.monotonic() - began < 5, "it would block for ever"
        dropped = handler.dropped
        assert 2000 < dropped < 5000
        lines: list[str] = []
        deadline = time.monotonic() + 10
        while len(written(lines)) < 5000 - dropped and time.monotonic() < deadline:
            lines += read_all(reader)
            time.sleep(0.01)
        log.warning("read again")
        handler.flush()
        lines += read_all(reader)
        assert lines[-1] == "read again"
        numbers = written(lines[:-1])
        assert len(numbers) == 5000 - dropped and numbers == sorted(numbers)
        reported = [int(line.split()[0]) for line in lines if line.endswith("was not read")]
        assert sum(reported) == dropped == handler.dropped


def written(lines: list[str]) -> list[int]:
    return [int(line.split()[0]) for line in lines if line.endswith("x")]


def test_a_reader_that_is_gone_harms_nobody(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    handler = BackgroundHandler(writer)
    with closing(handler):
        os.close(reader)
        log = logger(handler)
        for _ in range(10):
            log.warning("into the void")
        handler.flush()
        assert handler.dropped == 10
