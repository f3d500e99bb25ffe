"""The status line is replaced, not piled up, and what stays on the screen is the text alone."""

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.status_line import StatusLine
from tests.support.screen import Screen


class Tty(io.StringIO):
    """Without a file descriptor, so it has 80 columns."""

    def __init__(self, rows: int = 24) -> None:
        super().__init__()
        self.screen = Screen(80, rows)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.screen.write(text.replace("\n", "\r\n"))
        return super().write(text)


@pytest.fixture(autouse=True, scope="module")
def an_ordinary_terminal() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        yield


def begun(tty: Tty) -> StatusLine:
    status = StatusLine(tty)
    status.begin()
    return status


def test_a_status_is_replaced_by_the_next_and_erased_by_text() -> None:
    status = begun(tty := Tty())
    status.write("> a question\n")
    status.show("loading a model  [#####-----] 50 %")
    status.show("2nd in line")
    assert tty.screen.lines == ["> a question", "2nd in line"]
    status.write("The answer")
    assert tty.screen.lines == ["> a question", "The answer"]
    status.end()


def test_in_the_middle_of_a_line_it_stands_below_and_the_text_goes_on_where_it_was() -> None:
    status = begun(tty := Tty(rows=3))
    for word in ("one\n", "two\n", "The quick brown "):
        status.write(word)
    status.show("paused: others have their turn")
    status.show("paused: others have their turn, 2nd in line")
    assert tty.screen.lines[-2:] == [
        "The quick brown",
        "paused: others have their turn, 2nd in line",
    ]
    status.write("fox")
    status.show("paused: again")
    status.end()
    assert tty.screen.lines == ["one", "two", "The quick brown fox"]


def test_it_never_takes_more_than_one_row() -> None:
    status = begun(tty := Tty(rows=2))
    for text in ("x" * 500, "世" * 500, "x" * 79, "x" * 80):
        status.show(text)
        assert len(tty.screen.lines) == 1
    assert tty.screen.lines == ["x" * 79]
    status.end()
    assert tty.screen.lines == []


def test_the_same_status_is_not_written_twice_and_none_outside_of_a_request() -> None:
    status = begun(tty := Tty())
    status.show("next in line")
    written = tty.getvalue()
    status.show("next in line")
    assert tty.getvalue() == written
    status.end()
    written = tty.getvalue()
    status.show("next in line")
    assert tty.getvalue() == written and not tty.screen.lines


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_terminal_that_can_only_print_gets_text_alone(
    term: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term) if term else monkeypatch.delenv("TERM")
    status = begun(tty := Tty())
    status.show("next in line")
    status.write("text\n")
    status.end()
    assert tty.getvalue() == "text\n" and not status.usable


def test_a_file_gets_text_alone() -> None:
    status = StatusLine(out := io.StringIO())
    status.begin()
    status.show("next in line")
    status.write("text\n")
    status.end()
    assert out.getvalue() == "text\n" and not status.usable


def test_after_a_full_row_the_text_goes_on_in_the_next() -> None:
    status = begun(tty := Tty())
    status.write("x" * 80)
    status.show("paused: others have their turn")
    assert tty.screen.lines == ["x" * 80, "paused: others have their turn"]
    status.write("y")
    status.end()
    assert tty.screen.lines == ["x" * 80, "y"]


WORDS = st.text("ab \n", max_size=100)


@given(actions=st.lists(st.tuples(st.booleans(), WORDS), max_size=30), rows=st.integers(2, 6))
def test_whatever_is_shown_between_the_text_stays_as_it_is(
    actions: list[tuple[bool, str]], rows: int
) -> None:
    """But for a line break in a full row, which may be seen as two."""
    tty, plain = Tty(rows), Tty(rows)
    status = begun(tty)
    for is_text, text in actions:
        if is_text:
            status.write(text)
            plain.write(text)
        else:
            status.show(text.replace("\n", " "))
    status.end()
    assert list(filter(None, tty.screen.lines)) == list(filter(None, plain.screen.lines))
