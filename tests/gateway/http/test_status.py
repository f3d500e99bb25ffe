"""A worker has one word for its state, and the worst that is true of it is the word."""

from collections.abc import Callable

import pytest

from gateway.http.status import STALL_FRACTION, STALL_SECONDS, state_of
from gateway.workers.fleet import Fleet
from gateway.workers.worker import Worker
from protocol.messages import Hello

NOW = 1000.0
LIMIT = 60.0


def worker(
    fleet: Fleet, model: str = "m", change: Callable[[Fleet, Worker], None] | None = None
) -> Worker:
    hello = Hello(protocol=0, binding="b", pid=7, slots=2, model=model)
    made = fleet.join(b"b.7.w", hello, NOW)
    if change:
        change(fleet, made)
    return made


def busy(fleet: Fleet, worker: Worker) -> None:
    fleet.assign(worker, 1, NOW)


@pytest.mark.parametrize(
    ("model", "change", "state"),
    [
        ("m", None, "idle"),
        ("", None, "empty"),
        ("m", busy, "busy"),
        ("m", lambda fleet, one: fleet.start_loading(one, "n", 0), "loading"),
        ("m", lambda fleet, one: fleet.drain(one, "n"), "draining"),
        ("m", lambda fleet, one: fleet.retire(one, NOW), "stopping"),
    ],
)
def test_a_worker_that_is_well(
    model: str, change: Callable[[Fleet, Worker], None] | None, state: str
) -> None:
    one = worker(Fleet(), model, change)
    assert state_of(one, NOW, stall_limit=LIMIT, silent=False, frozen=False) == state
    assert state_of(one, NOW, stall_limit=LIMIT, silent=True, frozen=False) == "silent"
    assert state_of(one, NOW, stall_limit=LIMIT, silent=True, frozen=True) == "frozen"


@pytest.mark.parametrize(
    ("limit", "after"), [(LIMIT, LIMIT * STALL_FRACTION), (0.0, STALL_SECONDS)]
)
def test_a_long_step_is_called_that_before_anybody_gives_the_worker_up(
    limit: float, after: float
) -> None:
    one = worker(Fleet(), "m", busy)
    kinds = [
        state_of(one, NOW + seconds, stall_limit=limit, silent=False, frozen=False)
        for seconds in (after - 1, after + 1)
    ]
    assert kinds == ["busy", "stalled"]


def test_an_idle_worker_is_not_stalled_however_long_it_has_nothing_to_do() -> None:
    one = worker(Fleet())
    assert state_of(one, NOW + 1e6, stall_limit=LIMIT, silent=False, frozen=False) == "idle"
