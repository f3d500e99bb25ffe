"""The output queue between model thread and link thread: no loss, no missed wake-up."""

import os
import threading
from collections.abc import Iterator

import pytest

from protocol.messages import Chunk, Chunks, Finished
from worker.outbox import FRAME, ROOM, Outbox


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    opened = Outbox()
    yield opened
    opened.close()


def chunk(id: int, text: str) -> Chunk:
    return Chunk(id, text, [ord(text)], 1)


def test_chunks_that_wait_in_a_row_share_a_frame(outbox: Outbox) -> None:
    outbox.put([chunk(1, "a"), chunk(2, "x")])
    outbox.put([chunk(1, "b")])
    outbox.put([Finished(1, "stop", 2), chunk(2, "y")])
    assert outbox.take() == Chunks([chunk(1, "a"), chunk(2, "x"), chunk(1, "b")])
    assert outbox.take() == Finished(1, "stop", 2)
    assert outbox.take() == Chunks([chunk(2, "y")])
    assert outbox.take() is None


def test_a_frame_has_its_limit(outbox: Outbox) -> None:
    outbox.put([chunk(1, "a") for _ in range(3 * FRAME)])
    assert outbox.take() == Chunks([chunk(1, "a")] * FRAME)


def test_whoever_found_it_full_is_told_once_when_there_is_room(outbox: Outbox) -> None:
    assert not outbox.full() and not outbox.relieved()
    outbox.put([chunk(1, "a") for _ in range(ROOM)])
    assert outbox.full() and not outbox.relieved()
    while outbox.take():
        pass
    assert outbox.relieved()
    assert not outbox.relieved()


def test_nobody_is_told_who_never_waited(outbox: Outbox) -> None:
    outbox.put([chunk(1, "a") for _ in range(ROOM)])
    while outbox.take():
        pass
    assert not outbox.relieved()


def test_two_threads_lose_neither_a_chunk_nor_a_wake_up(outbox: Outbox) -> None:
    """The putter fills it again and again; who waits and is forgotten hangs the test."""
    wanted = 30 * ROOM
    room = threading.Semaphore(0)

    def put() -> None:
        for _ in range(wanted):
            if outbox.full():
                assert room.acquire(timeout=20)
            outbox.put([chunk(1, "a")])

    os.set_blocking(outbox.fileno(), True)
    putter = threading.Thread(target=put)
    putter.start()
    taken = 0
    while taken < wanted:
        outbox.lower()  # sleeps until it is signalled
        while message := outbox.take():
            assert isinstance(message, Chunks)
            taken += sum(each.count for each in message.chunks)
        if outbox.relieved():
            room.release()
    putter.join()
    assert taken == wanted
