"""What failed is left alone for a while, and longer each time, until it works."""

import pytest

from gateway.scheduling.circuit_breaker import MAX_CIRCUITS, MAX_OPEN_SECONDS, CircuitBreaker

MODEL = ("b", "m")
BINDING = ("b", "")


def test_it_is_open_for_as_long_as_was_said_and_then_worth_a_try() -> None:
    circuits = CircuitBreaker()
    assert circuits.failed(MODEL, "it broke", 10, 2, blocks_requests=False)
    assert circuits.open(MODEL, 11) == (
        "it broke; the next try is in 1 s, or when the model is selected"
    )
    assert circuits.open(MODEL, 12) == "" and circuits.error(MODEL) == "it broke"
    circuits.close(MODEL)
    assert circuits.error(MODEL) == "" and circuits.status(12) == []


def test_it_is_open_twice_as_long_after_each_failure_in_a_row() -> None:
    circuits, now, waits = CircuitBreaker(), 0.0, []
    for _ in range(12):
        circuits.failed(MODEL, "it broke", now, 2, blocks_requests=False)
        [told] = circuits.status(now)
        waits.append(told["next_try_in"])
        now += told["next_try_in"]
    assert waits[:5] == [2, 4, 8, 16, 32] and waits[-1] == MAX_OPEN_SECONDS
    assert circuits.status(now)[0] == {
        "binding": "b", "model": "m", "error": "it broke", "failures": 12,
        "open_for": round(now, 1), "next_try_in": 0.0,
    }  # fmt: skip
    circuits.close(MODEL)
    circuits.failed(MODEL, "it broke", now, 2, blocks_requests=False)
    assert circuits.status(now)[0]["next_try_in"] == 2


def test_news_is_what_was_not_said_the_last_time() -> None:
    circuits = CircuitBreaker()
    said = [
        circuits.failed(MODEL, why, 0, 2, blocks_requests=False) for why in ("a", "a", "b", "b")
    ]
    assert said == [True, False, True, False]


@pytest.mark.parametrize("barred", [True, False])
def test_only_what_costs_a_process_is_barred_for_those_who_just_ask(barred: bool) -> None:
    circuits = CircuitBreaker()
    circuits.failed(BINDING, "it died", 0, 30, blocks_requests=barred)
    assert circuits.open(BINDING, 1).endswith("or when the binding is selected")
    assert bool(circuits.open_for_requests(BINDING, 1)) is barred
    assert circuits.any_open("b", "m", 1) and not circuits.any_open("b", "m", 30)
    assert not circuits.any_open("c", "m", 1)


def test_no_more_are_remembered_than_fit() -> None:
    circuits = CircuitBreaker()
    for number in range(MAX_CIRCUITS + 5):
        circuits.failed(("b", str(number)), "no", number, 2, blocks_requests=False)
    assert len(circuits.status(0)) == MAX_CIRCUITS and circuits.error(("b", "0")) == ""
