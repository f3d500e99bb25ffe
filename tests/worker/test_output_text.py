"""Output text is the same however it was split into pieces."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.output_text import Text

few = st.text("ab<é", max_size=30)
stops = st.lists(st.text("ab<é", min_size=1, max_size=6), max_size=4)


def cut_at_first_stop(text: str, stop: list[str]) -> str:
    """The one that is complete first; of those that end together the longest."""
    hits = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
    return text[: min(hits)[1]] if hits else text


def split(data: st.DataObject, whole: str | bytes) -> list[str | bytes]:
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8).map(sorted))
    edges = [0, *cuts, len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(edges)]


def shown(text: Text, pieces: list[str | bytes]) -> list[str]:
    out = []
    for piece in pieces:
        out.append(text.feed(piece))
        if text.stopped:
            return out
    return [*out, text.end()]


@given(few, stops, st.data())
def test_the_text_ends_before_its_first_stop_string(
    whole: str, stop: list[str], data: st.DataObject
) -> None:
    assert "".join(shown(Text(stop), split(data, whole))) == cut_at_first_stop(whole, stop)


@given(few, stops, st.data())
def test_bytes_cut_inside_characters_are_mended(
    whole: str, stop: list[str], data: st.DataObject
) -> None:
    out = shown(Text(stop), split(data, whole.encode()))
    assert "".join(out) == cut_at_first_stop(whole, stop)


@given(few, stops, st.integers(0, 40), st.data())
def test_what_the_client_has_is_left_out(
    whole: str, stop: list[str], skip: int, data: st.DataObject
) -> None:
    out = shown(Text(stop, skip), split(data, whole))
    assert "".join(out) == cut_at_first_stop(whole, stop)[skip:]


@given(st.binary(max_size=30), st.data())
def test_invalid_bytes_become_replacement_characters(whole: bytes, data: st.DataObject) -> None:
    assert "".join(shown(Text(), split(data, whole))) == whole.decode(errors="replace")


@given(few, stops, st.data())
def test_no_more_is_held_back_than_could_begin_a_stop_string(
    whole: str, stop: list[str], data: st.DataObject
) -> None:
    text, fed, out = Text(stop), "", ""
    for piece in split(data, whole):
        fed += str(piece)
        out += text.feed(piece)
        if text.stopped:
            return
        held = fed[len(out) :]
        assert held == "" or any(s.startswith(held) and s != held for s in stop)


def test_a_character_in_three_pieces_goes_out_once_it_is_whole() -> None:
    text = Text()
    assert [text.feed(bytes([byte])) for byte in "€".encode()] == ["", "", "€"]


def test_a_character_that_never_comes_ends_as_a_replacement() -> None:
    text = Text()
    assert text.feed("€".encode()[:2]) == ""
    assert text.end() == "\ufffd"


def test_text_after_half_a_character_keeps_its_place() -> None:
    text = Text()
    assert text.feed(b"a\xe2") + text.feed("b") == "a\ufffdb"


def test_lone_surrogates_become_replacements_and_pairs_their_character() -> None:
    assert Text().feed("a\ud83d\ude00b\ud800c") == "a😀b\ufffdc"


def test_nothing_comes_after_a_stop_string() -> None:
    text = Text(["\nUser:"])
    assert text.feed("yes\nUser: and") == "yes"
    assert text.stopped
    assert text.feed("more") + text.end() == ""


def test_an_empty_stop_string_stops_nothing() -> None:
    assert "".join(shown(Text([""]), ["a", "b"])) == "ab"


@pytest.mark.parametrize("stop", ["a" * 20_000 + "b", ("a" * 100 + "c") * 200])
def test_a_spiteful_stop_string_does_not_make_it_slow(stop: str) -> None:
    """Comparing every suffix with every stop string would take minutes."""
    text = Text([stop])
    began = time.process_time()
    out = [text.feed("a") for _ in range(50_000)]
    out.append(text.end())
    assert "".join(out) == "a" * 50_000
    assert time.process_time() - began < 5
