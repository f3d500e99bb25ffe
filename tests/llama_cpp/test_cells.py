"""Whose beginning is shared, and who goes when names run out?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bindings.llama_cpp.cells import Cells, Shelf, common


def finish(shelf: Shelf, tokens: list[int]) -> Cells:
    cells = shelf.join(list(tokens), len(tokens) - 1).cells
    cells.computed = len(tokens)
    assert shelf.leave(cells)
    return cells


def test_the_longest_beginning_is_shared_and_its_holder_stays() -> None:
    shelf = Shelf(4, 1000)
    finish(shelf, [1, 2, 7])
    longest = finish(shelf, [1, 2, 3, 4, 5, 6])
    place = shelf.join([1, 2, 3, 4, 9, 9], 5)
    assert place.source == longest.id != place.cells.id
    assert place.cells.computed == 4
    assert shelf.finished == 2


def test_what_continues_a_finished_one_takes_it_over() -> None:
    shelf = Shelf(4, 1000)
    before = finish(shelf, [1, 2, 3])
    place = shelf.join([1, 2, 3, 4], 3)
    assert (place.source, place.cells.id, place.cells.computed) == (before.id, before.id, 3)
    assert shelf.finished == 0


def test_something_is_always_left_to_compute() -> None:
    shelf = Shelf(4, 1000)
    finish(shelf, [1, 2, 3])
    assert shelf.join([1, 2, 3], 2).cells.computed == 2


def test_of_a_running_one_only_what_is_computed_is_shared() -> None:
    shelf = Shelf(4, 1000)
    running = shelf.join([1, 2, 3, 4], 3).cells
    running.computed = 2
    assert shelf.join([1, 2, 3, 4, 5], 4).cells.computed == 2


def test_the_least_recently_used_goes_first() -> None:
    shelf = Shelf(3, 1000)
    first, second = finish(shelf, [1, 1]), finish(shelf, [2, 2])
    using = shelf.join([1, 5], 1)
    assert using.source == first.id
    assert shelf.join([4, 4], 1).dropped == [second.id]
    assert shelf.join([4, 4], 1).dropped == [first.id]


def test_the_only_one_left_to_go_may_be_the_source() -> None:
    shelf = Shelf(1, 1000)
    before = finish(shelf, [1, 2, 3])
    place = shelf.join([1, 2, 9], 2)
    assert (place.source, place.cells.id, place.cells.computed) == (before.id, before.id, 2)


def test_too_much_is_not_kept_and_the_last_one_always_is() -> None:
    shelf = Shelf(4, 5)
    first = finish(shelf, [1, 1, 1])
    assert shelf.drop_surplus() is None
    finish(shelf, [2, 2, 2, 2, 2, 2, 2])
    assert shelf.drop_surplus() == first.id
    assert shelf.drop_surplus() is None


def test_what_is_shared_counts_once() -> None:
    shelf = Shelf(4, 6)
    finish(shelf, [1, 1, 1, 1, 2])
    finish(shelf, [1, 1, 1, 1, 3])
    assert shelf.drop_surplus() is None


def test_what_computed_nothing_leaves_nothing() -> None:
    shelf = Shelf(2, 1000)
    assert not shelf.leave(shelf.join([1, 2], 1).cells)
    assert shelf.drop_oldest() is None


@given(st.lists(st.integers(0, 2), max_size=600), st.lists(st.integers(0, 2), max_size=600),
       st.integers(0, 600), st.integers(0, 600))  # fmt: skip
def test_common_counts_equal_tokens(a: list[int], b: list[int], same: int, most: int) -> None:
    b = a[:same] + b
    expected = 0
    while expected < min(most, len(a), len(b)) and a[expected] == b[expected]:
        expected += 1
    assert common(a, b, most) == expected


@pytest.mark.parametrize("names", [3, 5, 9])
@given(data=st.data())
def test_no_two_sequences_ever_have_one_name(names: int, data: st.DataObject) -> None:
    shelf, running, held = Shelf(names, 1000), [], set()
    for _ in range(data.draw(st.integers(1, 40))):
        if running and (len(running) == names - 1 or data.draw(st.booleans())):
            cells = running.pop(data.draw(st.integers(0, len(running) - 1)))
            cells.computed = data.draw(st.integers(0, len(cells.tokens)))
            if not shelf.leave(cells, keep=data.draw(st.booleans())):
                held.discard(cells.id)
        else:
            tokens = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=6))
            place = shelf.join(tokens, len(tokens) - 1)
            held -= set(place.dropped)
            assert place.source is None or place.source in held
            if place.source != place.cells.id:
                assert place.cells.id not in held
            held.add(place.cells.id)
            running.append(place.cells)
        assert len({cells.id for cells in running}) == len(running)
    for cells in running:
        shelf.leave(cells, keep=False)
    while shelf.drop_oldest() is not None:
        pass
    assert shelf.finished == 0
