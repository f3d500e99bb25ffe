"""A crowd is served at once, and a flood at the rate that is allowed."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.pacing import FORGET_AT, Pacing


def test_a_burst_goes_on_at_once_the_next_wait_and_what_waits_too_long_is_refused() -> None:
    pacing = Pacing(10, 2.0, patience=3.0)
    waits = [pacing.wait("a", 100.0) for _ in range(20)]
    assert waits[:10] == [0.0] * 10
    assert waits[10:16] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert waits[16:] == [None] * 4
    assert pacing.wait("b", 100.0) == 0.0
    assert pacing.wait("a", 101.0) == 2.5  # what was refused does not count
    assert [pacing.wait("a", 200.0) for _ in range(11)] == [0.0] * 10 + [0.5]


@given(st.lists(st.floats(0, 2), max_size=100))
def test_no_more_go_on_than_the_burst_and_the_rate_allow(gaps: list[float]) -> None:
    pacing, now, gone = Pacing(5, 4.0), 0.0, []
    for gap in gaps:
        now += gap
        if (seconds := pacing.wait("a", now)) is not None:
            gone.append(now + seconds)
    for first in range(len(gone)):
        for last in range(first, len(gone)):
            assert last - first + 1 <= 5 + 4.0 * (gone[last] - gone[first]) + 1e-6


def test_addresses_without_effect_are_forgotten() -> None:
    pacing = Pacing(5, 100.0)
    for number in range(10 * FORGET_AT):
        pacing.wait(str(number), number / 1000)
    assert len(pacing._full_at) <= FORGET_AT
