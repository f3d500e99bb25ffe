"""Prefix cache: longest match, eviction, sequence ids and gaps."""

from hypothesis import given
from hypothesis import strategies as st

from bindings.llama_cpp.prefix_cache import CachedPrefix, PrefixCache, common_prefix

LONG = list(range(100, 120))
"""More than enough to be worth keeping."""


def finish(cache: PrefixCache, tokens: list[int], size: int = 1, holder: str = "") -> None:
    cells = cache.assign(list(tokens), len(tokens) - 1, holder).cells
    cache.release(cells)
    cache.store(tokens, f"state of {tokens}", size, holder)


def test_the_longest_beginning_is_shared_and_its_holder_stays() -> None:
    cache = PrefixCache(4, 1000)
    finish(cache, [*LONG, 7])
    finish(cache, [*LONG, 4, 5, 6])
    assignment = cache.assign([*LONG, 4, 9, 9], 22)
    assert isinstance(assignment.source, CachedPrefix)
    assert assignment.source.tokens == [*LONG, 4, 5, 6]
    assert assignment.cells.computed == 21
    assert cache.count == 2


def test_what_continues_a_finished_one_takes_its_place() -> None:
    cache = PrefixCache(4, 1000)
    finish(cache, LONG)
    assert cache.assign([*LONG, 1], 20).cells.computed == 20
    assert cache.count == 0


def test_something_is_always_left_to_compute() -> None:
    cache = PrefixCache(4, 1000)
    finish(cache, LONG)
    assert cache.assign(list(LONG), 19).cells.computed == 19


def test_of_a_running_one_only_what_is_computed_is_shared() -> None:
    cache = PrefixCache(4, 1000)
    running = cache.assign([1, 2, 3, 4], 3).cells
    running.computed = 2
    assignment = cache.assign([1, 2, 3, 4, 5], 4)
    assert (assignment.source, assignment.cells.computed) == (running, 2)


def test_a_running_one_is_asked_first_because_sharing_with_it_costs_nothing() -> None:
    cache = PrefixCache(4, 1000)
    finish(cache, [*LONG, 7])
    running = cache.assign([*LONG, 8], 20).cells
    assert cache.assign([*LONG, 9], 20).source is running


def test_who_will_soon_have_more_to_share_is_worth_waiting_for() -> None:
    cache = PrefixCache(4, 1000)
    running = cache.assign(list(range(100)), 99).cells
    assert cache.worth_waiting(list(range(80)), 79)
    assert not cache.worth_waiting([5, *range(80)], 79)
    running.computed = 60
    assert not cache.worth_waiting(list(range(80)), 79)


def test_the_least_recently_used_goes_first() -> None:
    cache = PrefixCache(4, 2)
    other = [*range(50)]
    finish(cache, [*LONG, 7])
    finish(cache, other)
    cache.release(cache.assign([*LONG, 8], 20).cells)  # uses the first
    finish(cache, [*range(200, 250)])
    assert cache.assign([*LONG, 8], 20).cells.computed == 20
    assert cache.assign([*other, 3], 50).cells.computed == 0


def test_nothing_is_shared_with_another_holder_whether_it_runs_or_is_finished() -> None:
    cache = PrefixCache(4, 1000)
    finish(cache, [*LONG, 7], holder="alice")
    running = cache.assign([*LONG, 8], 20, "alice").cells
    running.computed = 20
    assert cache.assign([*LONG, 7], 20, "bob").source is None
    assert cache.assign([*LONG, 7], 20).source is None
    assert cache.assign([*LONG, 7], 20, "alice").cells.computed == 20


def test_nobody_waits_for_what_another_holder_computes() -> None:
    cache = PrefixCache(4, 1000)
    cache.assign(list(range(100)), 99, "alice")
    assert not cache.worth_waiting(list(range(80)), 79, "bob")
    assert cache.worth_waiting(list(range(80)), 79, "alice")


def test_a_holder_that_fills_the_cache_evicts_its_own_and_leaves_others_their_share() -> None:
    cache = PrefixCache(4, 8)
    for start in range(0, 120, 30):
        finish(cache, [*range(start, start + 30)], holder="alice")
    for start in range(1000, 4000, 30):
        finish(cache, [*range(start, start + 30)], holder="bob")
    kept = [cache.assign([*range(start, start + 30)], 29, "alice") for start in range(0, 120, 30)]
    assert [assignment.cells.computed for assignment in kept] == [29] * 4
    assert cache.count == 8


def test_a_holder_alone_may_use_all_of_the_cache_until_another_comes() -> None:
    cache = PrefixCache(4, 4)
    for start in range(0, 120, 30):
        finish(cache, [*range(start, start + 30)], holder="alice")
    assert cache.count == 4
    finish(cache, [*range(1000, 1030)], holder="bob")
    assert cache.count == 4
    assert cache.assign([*range(1000, 1031)], 30, "bob").cells.computed == 30
    assert cache.assign([*range(30)], 29, "alice").source is None  # the oldest of alice's


def test_what_has_no_room_is_not_kept() -> None:
    cache = PrefixCache(4, 10)
    finish(cache, LONG, 10)
    assert not cache.fits(11)
    finish(cache, [1, *LONG], 3)
    assert cache.count == 1
    cache.clear()
    assert cache.count == 0


def test_names_are_given_from_the_lowest_and_a_gap_can_be_closed() -> None:
    cache = PrefixCache(4, 0)
    first, second, third = (cache.assign([n], 0).cells for n in range(3))
    assert [cells.id for cells in (first, second, third)] == [0, 1, 2]
    assert cache.gap() is None
    cache.release(first)
    assert cache.gap() == (third, 0)
    cache.renumber(third, 0)
    assert (third.id, second.id, cache.gap()) == (0, 1, None)
    assert [cache.assign([n], 0).cells.id for n in range(2)] == [2, 3]


def test_where_sharing_takes_a_copy_a_few_tokens_are_not_worth_it() -> None:
    cache = PrefixCache(4, 1000, copies=True)
    running = cache.assign([1, 2, 3, *LONG], 3).cells
    running.computed = 20
    assert cache.assign([1, 2, 3, 4], 3).source is None
    assert cache.assign([1, 2, 3, *LONG, 5], 20).source is running


def test_a_few_tokens_are_not_worth_a_copy() -> None:
    cache = PrefixCache(4, 1000)
    finish(cache, [1, 2, 3, *LONG])
    assert cache.assign([1, 2, 3, 4], 3).source is None


@given(st.lists(st.integers(0, 2), max_size=600), st.lists(st.integers(0, 2), max_size=600),
       st.integers(0, 600), st.integers(0, 600))  # fmt: skip
def test_common_counts_equal_tokens(a: list[int], b: list[int], same: int, most: int) -> None:
    b = a[:same] + b
    expected = 0
    while expected < min(most, len(a), len(b)) and a[expected] == b[expected]:
        expected += 1
    assert common_prefix(a, b, most) == expected


@given(data=st.data())
def test_no_two_running_sequences_ever_have_one_name(data: st.DataObject) -> None:
    cache, running = PrefixCache(5, 3), []
    for _ in range(data.draw(st.integers(1, 40))):
        if running and (len(running) == 5 or data.draw(st.booleans())):
            cells = running.pop(data.draw(st.integers(0, len(running) - 1)))
            cells.computed = data.draw(st.integers(0, len(cells.tokens)))
            cache.release(cells)
            kept = cells.tokens[: cells.computed]
            cache.store(kept, None, data.draw(st.integers(1, 4)), cells.holder)
        else:
            tokens = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=40))
            holder = data.draw(st.sampled_from(["alice", "bob"]))
            assignment = cache.assign(tokens, len(tokens) - 1, holder)
            assert assignment.cells.computed < len(tokens)
            assert (assignment.source is None) == (assignment.cells.computed == 0)
            if assignment.source:
                shared = assignment.cells.computed
                assert assignment.source.holder == holder
                assert assignment.source.tokens[:shared] == tokens[:shared]
            running.append(assignment.cells)
        if (gap := cache.gap()) and data.draw(st.booleans()):
            cache.renumber(*gap)
        assert len({cells.id for cells in running}) == len(running)
