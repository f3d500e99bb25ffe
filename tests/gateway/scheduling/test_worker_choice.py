"""A conversation stays where its beginning is held; a common beginning spreads over workers."""

from gateway.scheduling.affinity import BLOCK, prefixes
from gateway.scheduling.turns import Waiter
from gateway.scheduling.worker_choice import WorkerChoice
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Hello

SLOTS = 8


def workers(count: int) -> list[Worker]:
    fleet = Fleet()
    hello = Hello(0, "b", 7, SLOTS, model="m")
    return [fleet.join(b"b.7.%d" % number, hello, 0) for number in range(count)]


def waiter(text: str, *, admitted: bool = False) -> Waiter:
    digests = prefixes([text], "ada", "m")
    return Waiter(binding="b", model="m", slot=True, prefixes=lambda: digests, admitted=admitted)


def text(letters: str) -> str:
    return "".join(letter * BLOCK for letter in letters)


def test_the_next_turn_goes_where_the_last_one_ran_however_busy_that_worker_is() -> None:
    choice, (one, other) = WorkerChoice(), workers(2)
    other.reserved = 1
    assert choice.choose(waiter(text("ab")), [one, other]) is one
    one.reserved, other.reserved = SLOTS - 1, 0
    assert choice.choose(waiter(text("abc")), [one, other]) is one
    assert choice.choose(waiter(text("abcd")), [other]) is other  # the first is full
    assert choice.hits == 1
    assert choice.choose(waiter(text("abcde")), [one, other]) is other


def test_conversations_with_the_same_personality_do_not_crowd_into_one_worker() -> None:
    choice, both = WorkerChoice(), workers(2)
    for number in range(12):
        choice.choose(waiter(text("P") + f"question {number}"), both).reserved += 1
    assert {worker.reserved for worker in both} <= {5, 6, 7}


def test_an_answer_that_continues_makes_its_prompt_no_common_one() -> None:
    choice, (one, other) = WorkerChoice(), workers(2)
    assert choice.choose(waiter(text("ab")), [one]) is one
    assert choice.choose(waiter(text("ab"), admitted=True), [one, other]) is one
    one.reserved = SLOTS - 1
    assert choice.choose(waiter(text("abc")), [one, other]) is one
