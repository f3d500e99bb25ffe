"""Since when a client has taken nothing of its text, as far as looks and answers can tell."""

import asyncio
from collections.abc import Callable

from gateway.inference.reading import OFTEN, Reading
from tests.support.harness import run

LONG = 10 * OFTEN


class Client:
    """It answers when it is told to."""

    def __init__(self) -> None:
        self.questions: list[Callable[[], None]] = []

    def check(self, answered: Callable[[], None]) -> bool:
        self.questions.append(answered)
        return True


def test_nothing_waits_for_who_takes_all() -> None:
    reading = Reading()
    assert reading.look(0.0, LONG) == 0
    reading.moved = True
    assert reading.look(LONG, LONG + 1) == 0


def test_at_the_first_look_it_is_as_long_as_no_chunk_has_come() -> None:
    reading = Reading()
    reading.unsent, reading.moved = 256, True
    assert reading.look(3.0, LONG) == 3.0
    assert reading.look(3.0, LONG + 0.1) == 3.0, "nothing has left since"


def test_while_it_is_looked_at_often_what_leaves_counts() -> None:
    reading = Reading()
    reading.look(0.0, LONG)
    reading.unsent = 256
    assert reading.look(3.0, LONG + 0.1) == LONG + 0.1
    reading.moved = True
    assert reading.look(3.0, LONG + 0.2) == LONG + 0.2
    assert reading.look(3.0, LONG + 0.3) == LONG + 0.2
    reading.unsent = 0
    assert reading.look(3.0, LONG + 0.4) == 0


def test_a_question_counts_until_it_is_answered_and_an_old_answer_does_not() -> None:
    reading, client = Reading(), Client()
    for asked in (1.0, 2.0):
        reading.ask(client, asked)  # type: ignore[arg-type]  # only `check` is used
    assert len(client.questions) == 1 and reading.look(0.0, 5.0) == 1.0
    reading.forget_client()
    assert reading.look(0.0, 5.1) == 0
    reading.ask(client, 6.0)  # type: ignore[arg-type]
    client.questions[0]()
    assert reading.look(0.0, 7.0) == 6.0
    client.questions[1]()
    assert reading.look(0.0, 7.1) == 0


def test_who_waits_is_told_when_all_is_read_or_when_nothing_is_for_too_long() -> None:
    async def scenario() -> None:
        reading = Reading()
        assert await reading.until_read(1)
        reading.unsent = 2
        assert not await reading.until_read(0.02)
        waiting = asyncio.create_task(reading.until_read(0))
        for left in (1, 0):
            await asyncio.sleep(0)
            assert not waiting.done()
            reading.unsent, reading.moved = left, True
            reading.taken()
        assert await waiting

    run(scenario())
