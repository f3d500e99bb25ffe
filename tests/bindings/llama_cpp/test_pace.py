"""How many tokens are computed at once, from how long the last ones took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindings.llama_cpp.pace import FIRST, LEAST, TILE, Pace, whole_tiles


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
    batches(pace, 0.5, 1 / 20_000, 0.001, 1)
    assert [pace.fits(0.5, depth) for depth in (0, 600, 3000)] == [512, 600, 2048]
    assert pace.fits(0.05, short=True) < pace.fits(0.5, short=True) == 2048


@pytest.mark.parametrize("speed", [20, 100, 500, 1500])
def test_on_a_slow_machine_a_batch_takes_no_longer_than_asked(speed: float) -> None:
    times = batches(Pace(2048), 0.5, 1 / speed, 0.0, 20)
    assert max(times[1:]) <= 0.5 + 1e-6
    assert min(times[3:]) > 0.2  # and not much less


def test_a_disturbance_changes_nothing_and_a_machine_that_becomes_slow_is_soon_believed() -> None:
    pace = Pace(2048)
    batches(pace, 0.5, 1 / 2000, 0.001, 5)
    before = pace.fits(0.5)
    pace.record(before, 10.0)
    assert pace.fits(0.5) == before
    pace.record(before, before / 2000)
    assert sum(time > 0.51 for time in batches(pace, 0.5, 1 / 100, 0.001, 5)) == 2
    batches(pace, 0.5, 1 / 2000, 0.001, 5)
    assert pace.fits(0.5) == before


def test_the_rest_of_a_prompt_does_not_make_the_next_batch_small() -> None:
    pace = Pace(2048)
    batches(pace, 0.5, 1 / 2000, 0.02, 5)
    before = pace.fits(0.5)
    pace.record(9, 0.02 + 9 / 2000)
    assert pace.fits(0.5) == before


def test_whole_tiles_are_preferred_and_fewer_tokens_only_where_a_tile_takes_too_long() -> None:
    pace = Pace(2048, tile=TILE)
    batches(pace, 0.25, 1 / 700, 0.0, 5)
    assert pace.fits(0.25) == 2 * TILE
    pace = Pace(2048, tile=TILE)
    batches(pace, 0.25, 1 / 100, 0.0, 5)
    assert pace.fits(0.25) == TILE  # 25 would fit, but take as long in a long context
    pace = Pace(2048, tile=TILE)
    assert max(batches(pace, 0.25, 1 / 34, 0.0, 10)[1:]) <= 0.25


def test_a_tile_is_tried_again_where_small_batches_are_slow() -> None:
    """As with flash attention: 64 tokens are fast, and fewer are slow, even in sum."""
    pace = Pace(2048, tile=TILE)
    for _ in range(2):
        pace.record(TILE, 10.0)
    sizes = []
    for _ in range(40):
        sizes.append(pace.fits(0.25))
        pace.record(sizes[-1], sizes[-1] / (300 if sizes[-1] >= TILE else 30))
    assert sizes[0] < TILE and min(sizes[20:]) >= TILE


def test_what_is_fast_at_the_beginning_of_a_prompt_says_nothing_of_its_end() -> None:
    pace = Pace(2048, tile=TILE)
    for depth in (0, 100, 1000, 5000, 6000):
        pace.record(pace.fits(0.8, depth), 0.5, depth)
    for _ in range(3):
        pace.record(128, 128 / 1000, 0)
        pace.record(128, 128 / 100, 6000)
    assert pace.fits(0.4, 0) > 300
    assert pace.fits(0.8, 7000) == pace.fits(0.8, 9000) == TILE


def test_no_rest_of_less_than_a_tile_is_left() -> None:
    assert whole_tiles(1000, 256, 2048) == 256
    assert whole_tiles(300, 256, 2048) == 300
    assert whole_tiles(320, 256, 2048) == 256
    assert whole_tiles(300, 256, 290) == 256
    assert whole_tiles(40, 5, 2048) == 5  # the setting `chunk` says so
    assert whole_tiles(40, 256, 2048) == 40


@given(st.lists(st.tuples(st.integers(1, 4096), st.floats(0, 1e4)), max_size=20),
       st.integers(1, 4096), st.floats(0.001, 10))  # fmt: skip
def test_something_is_always_computed_and_never_more_than_is_possible(
    measured: list[tuple[int, float]], most: int, seconds: float
) -> None:
    pace = Pace(most)
    for tokens, took in measured:
        pace.record(tokens, took)
        assert min(LEAST, most) <= pace.fits(seconds) <= most
