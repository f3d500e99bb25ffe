"""How many tokens are computed at once, from how long the last ones took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindings.llama_cpp.pace import FIRST, LEAST, Pace


def batches(pace: Pace, seconds: float, cost: float, fixed: float, count: int) -> list[float]:
    """The times of `count` batches on a machine with these costs for a token and a batch."""
    times = []
    for _ in range(count):
        tokens = pace.fits(seconds)
        times.append(fixed + cost * tokens)
        pace.record(tokens, times[-1])
    return times


def test_it_begins_small_and_a_fast_machine_soon_computes_all_that_is_allowed() -> None:
    pace = Pace(2048)
    assert pace.fits(0.5) == FIRST
    batches(pace, 0.5, 1 / 20_000, 0.001, 3)
    assert pace.fits(0.5) == 2048


@pytest.mark.parametrize("speed", [34, 100, 500, 1500])
def test_on_a_slow_machine_a_batch_takes_no_longer_than_asked(speed: float) -> None:
    times = batches(Pace(2048), 0.5, 1 / speed, 0.0, 20)
    assert max(times[1:]) <= 0.5 + 1e-6
    assert min(times[3:]) > 0.2  # and not much less


def test_a_machine_that_becomes_slow_is_believed_at_once_and_so_is_one_that_recovers() -> None:
    pace = Pace(2048)
    batches(pace, 0.5, 1 / 2000, 0.001, 5)
    before = pace.fits(0.5)
    assert sum(time > 0.51 for time in batches(pace, 0.5, 1 / 100, 0.001, 5)) == 1
    batches(pace, 0.5, 1 / 2000, 0.001, 5)
    assert pace.fits(0.5) == before


def test_the_rest_of_a_prompt_does_not_make_the_next_batch_small() -> None:
    pace = Pace(2048)
    batches(pace, 0.5, 1 / 2000, 0.02, 5)
    before = pace.fits(0.5)
    pace.record(9, 0.02 + 9 / 2000)
    assert pace.fits(0.5) == before


@given(st.lists(st.tuples(st.integers(1, 4096), st.floats(0, 1e4)), max_size=20),
       st.integers(1, 4096), st.floats(0.001, 10))  # fmt: skip
def test_something_is_always_computed_and_never_more_than_is_possible(
    measured: list[tuple[int, float]], most: int, seconds: float
) -> None:
    pace = Pace(most)
    for tokens, took in measured:
        pace.record(tokens, took)
        assert min(LEAST, most) <= pace.fits(seconds) <= most
