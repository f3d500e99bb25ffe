"""Which beginnings of texts are the same, and which worker is said to hold the longest one."""

import hypothesis.strategies as st
from hypothesis import given

from gateway.scheduling.affinity import BLOCK, MAX_BLOCKS, MAX_WORKERS, Affinity, prefixes

A, B, C = b"echo.a", b"echo.b", b"echo.c"


def of(text: str) -> list[bytes]:
    return prefixes([text], "ada", "m")


def best(affinity: Affinity, digests: list[bytes], among: list[bytes]) -> bytes | None:
    """The latest worker with the longest beginning."""
    found, _ = affinity.best(digests, among)
    return found[0] if found else None


def blocks(letters: str) -> str:
    """A text of one block for each letter."""
    return "".join(letter * BLOCK for letter in letters)


@given(text=st.text(min_size=1), repeat=st.integers(1, 200), cuts=st.lists(st.integers(0, 5000)))
def test_it_does_not_matter_where_the_text_is_split(
    text: str, repeat: int, cuts: list[int]
) -> None:
    whole = text * repeat
    ends = sorted(cuts)
    parts = [whole[a:b] for a, b in zip([0, *ends], [*ends, len(whole)], strict=True)]
    assert prefixes(parts, "ada", "m") == of(whole)
    assert len(of(whole)) == min(MAX_BLOCKS, len(whole) // BLOCK)


def test_a_longer_text_begins_with_the_digests_of_its_beginning() -> None:
    assert of(blocks("abc") + "d")[:2] == of(blocks("ab"))
    assert of(blocks("ab"))[1] != of(blocks("bb"))[1]
    assert of(blocks("aa"))[0] != of(blocks("aa"))[1]


def test_holders_and_models_share_no_digest() -> None:
    text = blocks("ab")
    found = [prefixes([text], *pair) for pair in [("ada", "m"), ("bob", "m"), ("ada", "n")]]
    found.append(prefixes([text], "ad", "am"))
    assert len({digest for each in found for digest in each}) == 8


def test_a_short_text_has_no_digest_and_a_huge_one_a_bounded_number() -> None:
    assert of("x" * (BLOCK - 1)) == []
    assert len(of("x" * 10_000_000)) == MAX_BLOCKS
    assert len(prefixes(["x" * 10_000] * 1000, "ada", "m")) == MAX_BLOCKS


def test_a_lone_surrogate_is_a_character_as_others() -> None:
    assert of("\ud800" * BLOCK) != of("\ud801" * BLOCK)


def test_the_worker_with_the_longest_beginning_is_best() -> None:
    affinity = Affinity()
    affinity.record(of(blocks("abcd")), A)
    affinity.record(of(blocks("ab")), B)
    assert best(affinity, of(blocks("abcde")), [A, B, C]) == A
    assert best(affinity, of(blocks("abxx")), [A, B, C]) == B  # both hold "ab", it the latest
    assert best(affinity, of(blocks("abcde")), [B, C]) == B
    assert best(affinity, of(blocks("abcde")), [C]) is None
    assert best(affinity, of(blocks("xabc")), [A, B]) is None
    assert best(affinity, [], [A, B]) is None


def test_each_turn_of_a_conversation_goes_where_the_last_one_ran() -> None:
    affinity = Affinity()
    affinity.record(of(blocks("abc")), A)
    affinity.record(of(blocks("abcd")), B)  # the first was full
    assert best(affinity, of(blocks("abcde")), [A, B]) == B


def test_a_worker_that_was_forgotten_is_named_no_more() -> None:
    affinity = Affinity()
    affinity.record(of(blocks("ab")), A)
    affinity.record(of(blocks("abc")), B)
    affinity.forget(B)
    assert best(affinity, of(blocks("abc")), [A, B]) == A
    assert len(affinity) == 2
    affinity.forget(A)
    assert best(affinity, of(blocks("abc")), [A, B]) is None
    assert len(affinity) == 0


def test_of_many_workers_with_the_same_beginning_the_latest_are_remembered() -> None:
    affinity = Affinity()
    workers = [b"echo.%d" % number for number in range(MAX_WORKERS + 2)]
    for worker in [*workers, workers[-2]]:
        affinity.record(of(blocks("a")), worker)
    assert best(affinity, of(blocks("a")), workers) == workers[-2]
    assert best(affinity, of(blocks("a")), workers[:-2]) == workers[-3]
    assert best(affinity, of(blocks("a")), workers[:2]) is None


def test_what_was_recorded_longest_ago_is_forgotten_first_and_its_end_before_its_beginning() -> (
    None
):
    affinity = Affinity(max_entries=6)
    affinity.record(of(blocks("abc")), A)
    affinity.record(of(blocks("xyz")), B)
    affinity.record(of(blocks("abc")), A)
    affinity.record(of(blocks("m")), C)
    assert len(affinity) == 6
    assert best(affinity, of(blocks("xyz"))[-1:], [B]) is None
    assert best(affinity, of(blocks("xyz")), [B]) == B
    affinity.record(of(blocks("no")), C)
    assert best(affinity, of(blocks("xyz")), [B]) is None
    assert best(affinity, of(blocks("abc")), [A]) == A


def test_a_beginning_of_several_texts_is_common_and_one_that_continues_is_not() -> None:
    affinity = Affinity()
    affinity.record(of(blocks("abc")), A)
    affinity.record(of(blocks("abd")), B)
    assert affinity.best(of(blocks("abx")), [A, B]) == ([B, A], True)
    assert affinity.best(of(blocks("abcx")), [A, B]) == ([A], False)
    affinity.record(of(blocks("abc")), A, again=True)
    assert affinity.best(of(blocks("abcx")), [A, B]) == ([A], False)
    affinity.forget(A)
    affinity.forget(B)
    affinity.record(of(blocks("abc")), A)
    assert affinity.best(of(blocks("abx")), [A]) == ([A], False)
