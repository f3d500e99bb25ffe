"""Whose beginning is shared, and who goes when names run out?"""

from hypothesis import given
from hypothesis import strategies as st

from bindings.llama_cpp.prefix_cache import Kept, Shelf, common

LONG = list(range(100, 120))
"""More than enough to be worth keeping."""


def finish(shelf: Shelf, tokens: list[int], size: int = 1) -> None:
    cells = shelf.join(list(tokens), len(tokens) - 1).cells
    shelf.leave(cells)
    shelf.keep(tokens, f"state of {tokens}", size)


def test_the_longest_beginning_is_shared_and_its_holder_stays() -> None:
    shelf = Shelf(4, 1000)
    finish(shelf, [*LONG, 7])
    finish(shelf, [*LONG, 4, 5, 6])
    place = shelf.join([*LONG, 4, 9, 9], 22)
    assert isinstance(place.source, Kept)
    assert place.source.tokens == [*LONG, 4, 5, 6]
    assert place.cells.computed == 21
    assert shelf.kept == 2


def test_what_continues_a_finished_one_takes_its_place() -> None:
    shelf = Shelf(4, 1000)
    finish(shelf, LONG)
    assert shelf.join([*LONG, 1], 20).cells.computed == 20
    assert shelf.kept == 0


def test_something_is_always_left_to_compute() -> None:
    shelf = Shelf(4, 1000)
    finish(shelf, LONG)
    assert shelf.join(list(LONG), 19).cells.computed == 19


def test_of_a_running_one_only_what_is_computed_is_shared() -> None:
    shelf = Shelf(4, 1000)
    running = shelf.join([1, 2, 3, 4], 3).cells
    running.computed = 2
    place = shelf.join([1, 2, 3, 4, 5], 4)
    assert (place.source, place.cells.computed) == (running, 2)


def test_a_running_one_is_asked_first_because_sharing_with_it_costs_nothing() -> None:
    shelf = Shelf(4, 1000)
    finish(shelf, [*LONG, 7])
    running = shelf.join([*LONG, 8], 20).cells
    assert shelf.join([*LONG, 9], 20).source is running


def test_who_will_soon_have_more_to_share_is_worth_waiting_for() -> None:
    shelf = Shelf(4, 1000)
    running = shelf.join(list(range(100)), 99).cells
    assert shelf.promises(list(range(80)), 79)
    assert not shelf.promises([5, *range(80)], 79)
    running.computed = 60
    assert not shelf.promises(list(range(80)), 79)


def test_the_least_recently_used_goes_first() -> None:
    shelf = Shelf(4, 2)
    other = [*range(50)]
    finish(shelf, [*LONG, 7])
    finish(shelf, other)
    shelf.leave(shelf.join([*LONG, 8], 20).cells)  # uses the first
    finish(shelf, [*range(200, 250)])
    assert shelf.join([*LONG, 8], 20).cells.computed == 20
    assert shelf.join([*other, 3], 50).cells.computed == 0


def test_what_has_no_room_is_not_kept() -> None:
    shelf = Shelf(4, 10)
    finish(shelf, LONG, 10)
    assert not shelf.has_room_for(11)
    finish(shelf, [1, *LONG], 3)
    assert shelf.kept == 1
    shelf.forget()
    assert shelf.kept == 0


def test_names_are_given_from_the_lowest_and_a_gap_can_be_closed() -> None:
    shelf = Shelf(4, 0)
    first, second, third = (shelf.join([n], 0).cells for n in range(3))
    assert [cells.id for cells in (first, second, third)] == [0, 1, 2]
    assert shelf.gap() is None
    shelf.leave(first)
    assert shelf.gap() == (third, 0)
    shelf.rename(third, 0)
    assert (third.id, second.id, shelf.gap()) == (0, 1, None)
    assert [shelf.join([n], 0).cells.id for n in range(2)] == [2, 3]


def test_where_sharing_takes_a_copy_a_few_tokens_are_not_worth_it() -> None:
    shelf = Shelf(4, 1000, copies=True)
    running = shelf.join([1, 2, 3, *LONG], 3).cells
    running.computed = 20
    assert shelf.join([1, 2, 3, 4], 3).source is None
    assert shelf.join([1, 2, 3, *LONG, 5], 20).source is running


def test_a_few_tokens_are_not_worth_a_copy() -> None:
    shelf = Shelf(4, 1000)
    finish(shelf, [1, 2, 3, *LONG])
    assert shelf.join([1, 2, 3, 4], 3).source is None


@given(st.lists(st.integers(0, 2), max_size=600), st.lists(st.integers(0, 2), max_size=600),
       st.integers(0, 600), st.integers(0, 600))  # fmt: skip
def test_common_counts_equal_tokens(a: list[int], b: list[int], same: int, most: int) -> None:
    b = a[:same] + b
    expected = 0
    while expected < min(most, len(a), len(b)) and a[expected] == b[expected]:
        expected += 1
    assert common(a, b, most) == expected


@given(data=st.data())
def test_no_two_running_sequences_ever_have_one_name(data: st.DataObject) -> None:
    shelf, running = Shelf(5, 3), []
    for _ in range(data.draw(st.integers(1, 40))):
        if running and (len(running) == 5 or data.draw(st.booleans())):
            cells = running.pop(data.draw(st.integers(0, len(running) - 1)))
            cells.computed = data.draw(st.integers(0, len(cells.tokens)))
            shelf.leave(cells)
            shelf.keep(cells.tokens[: cells.computed], None, data.draw(st.integers(1, 4)))
        else:
            tokens = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=40))
            place = shelf.join(tokens, len(tokens) - 1)
            assert place.cells.computed < len(tokens)
            assert (place.source is None) == (place.cells.computed == 0)
            if place.source:
                shared = place.cells.computed
                assert place.source.tokens[:shared] == tokens[:shared]
            running.append(place.cells)
        if (gap := shelf.gap()) and data.draw(st.booleans()):
            shelf.rename(*gap)
        assert len({cells.id for cells in running}) == len(running)
