"""A generation ends exactly once, whatever happens in which order."""

from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.inference.state import End, Event, Stream

ENDS: dict[End, tuple[Callable[[Stream], list[Event]], list[str]]] = {
    End.FINISHED: (lambda stream: stream.finish(tokens=3), ["text_generated"]),
    End.FAILED: (lambda stream: stream.fail("it broke", code="x"), ["generation_error"]),
    End.CANCELLED: (Stream.cancel, ["generation_canceled", "text_generated"]),
    End.BUSY: (Stream.refuse, ["buzzy"]),
    End.GONE: (Stream.abandon, []),
}


class Streams(RuleBasedStateMachine):
    """The model: the texts that went out, and how it ended first."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = Stream("name")
        self.shown = ""
        self.tokens: list[int] = []
        self.end: End | None = None

    @rule(text=st.text(max_size=5), tokens=st.lists(st.integers(0, 9), max_size=3))
    def take(self, text: str, tokens: list[int]) -> None:
        goes_out = self.stream.take(text, tokens)
        assert goes_out == (self.end is None and text != "")
        if self.end is None:
            self.shown += text
            self.tokens += tokens

    @rule(end=st.sampled_from(End))
    def ends(self, end: End) -> None:
        act, expected = ENDS[end]
        events = act(self.stream)
        if self.end is not None:
            assert events == []
            return
        self.end = end
        assert [name for name, _ in events] == expected
        assert all(data["id"] == "name" for _, data in events)
        for name, data in events:
            if name == "text_generated":
                assert data["text"] == self.shown
            else:
                assert "text" not in data

    @invariant()
    def says_what_was_shown(self) -> None:
        stream = self.stream
        assert (stream.text, stream.tokens, stream.end) == (self.shown, self.tokens, self.end)
        assert stream.length == len(self.shown) and stream.untouched == (not self.shown)


TestStreams = Streams.TestCase


def test_an_end_carries_its_details() -> None:
    stream = Stream("name")
    stream.take("a", [1])
    assert stream.finish(tokens=1, reason="stop") == [
        ("text_generated", {"text": "a", "tokens": 1, "reason": "stop", "id": "name"})
    ]
    assert Stream("name").fail("because", code="c") == [
        ("generation_error", {"error": "because", "code": "c", "id": "name"})
    ]
    assert Stream("name").refuse() == [
        ("buzzy", {"message": "I am buzzy. Come back later.", "id": "name"})
    ]
