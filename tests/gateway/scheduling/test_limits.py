"""What may wait: a share for each owner and model, and a total."""

import pytest

from gateway.errors import Busy
from gateway.scheduling.limits import Limits
from gateway.scheduling.policy import Policy
from gateway.scheduling.turns import Waiter

KEY = "b", "m"


def waiter(owner: str = "a", model: str = "m", **options: bool) -> Waiter:
    return Waiter(binding="b", model=model, owner=owner, **{"slot": True, **options})


def limits(*waiters: Waiter, max_queue: int = 2, max_waiting: int = 99) -> Limits:
    made = Limits(Policy(max_queue=max_queue, max_waiting=max_waiting))
    for each in waiters:
        made.add(each)
    return made


def test_an_owner_may_have_so_many_waiting_for_each_model() -> None:
    made = limits(waiter(), waiter(), waiter("b"), waiter(model="n"))
    assert not made.exceeded_by(waiter())
    made.add(one_more := waiter())
    assert made.exceeded_by(one_more)
    assert not made.exceeded_by(waiter("b")) and not made.exceeded_by(waiter(model="n"))
    made.remove(one_more)
    assert not made.exceeded_by(waiter())
    assert made.total == 4


def test_who_ran_already_or_needs_no_slot_does_not_count() -> None:
    others = waiter(first=True), waiter(admitted=True), waiter(slot=False)
    made = limits(*others, max_queue=0, max_waiting=0)
    assert made.total == 0 and not made.crowded
    for each in others:
        made.remove(each)
    assert made.total == 0


def test_when_all_have_too_many_the_newest_of_who_has_the_most_goes() -> None:
    newest = waiter("a")
    made = limits(waiter("b"), waiter("a"), newest, waiter("a", "n"), max_waiting=3)
    assert made.crowded
    assert made.newest_of_largest() is newest
    made.remove(newest)
    assert not made.crowded


def test_four_unary_requests_count_as_one_generation() -> None:
    made = limits(waiter(), max_queue=2)
    for _ in range(4):
        made.add_unary("a", KEY)
    with pytest.raises(Busy):
        made.add_unary("a", KEY)
    made.add_unary("b", KEY)
    made.add(second := waiter())
    assert made.exceeded_by(second)
    made.remove_unary("a")
    made.remove(second)
    made.add_unary("a", KEY)
    with pytest.raises(Busy):
        made.add_unary("a", KEY)


def test_unary_requests_are_served_where_generations_may_not_wait() -> None:
    made = limits(max_queue=0)
    for _ in range(4):
        made.add_unary("a", KEY)
    with pytest.raises(Busy):
        made.add_unary("a", KEY)
