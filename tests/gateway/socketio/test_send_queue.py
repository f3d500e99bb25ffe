"""What goes out to one client keeps its order, arrives whole, and never grows without bound."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scheduling.notices import Continued, ModelStatus, Notice, Paused, Queued
from gateway.socketio.encoder import Event, Item, NoticeEvent, TextChunk
from gateway.socketio.send_queue import (
    MAX_BYTES,
    MAX_EVENTS,
    MAX_NOTICES,
    MERGE_BEYOND,
    SendQueue,
)


class Pipe:
    """A transport to a client that reads when the test says so."""

    def __init__(self, merges: bool = False) -> None:
        self.merges = merges
        self.free = 2**30
        self.left = True
        self.written: list[Item] = []
        self.dropped = self.closed = False

    def room(self) -> int:
        return self.free

    def settled(self) -> bool:
        return self.left

    def backlog(self) -> int:
        return 0

    def write(self, items: Sequence[Item]) -> None:
        self.written += items
        self.free = max(0, self.free - sum(item.size for item in items))

    def drop(self) -> None:
        self.dropped = True

    def close(self) -> None:
        self.closed = True


class Counts:
    def __init__(self) -> None:
        self.chunks = self.merged = self.dropped = 0


class Bell:
    """Remembers who asked to be flushed."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.marked = 0
        self.blocked = 0

    def schedule(self, queue: SendQueue) -> None:
        queue.scheduled = True
        self.marked += 1

    def await_room(self, queue: SendQueue) -> None:
        self.blocked += 1


class Told:
    """Counts the tokens that have left."""

    def __init__(self) -> None:
        self.tokens = 0

    def __call__(self, tokens: int) -> None:
        self.tokens += tokens


def shown(items: Sequence[Item]) -> list[tuple[str, str]]:
    """Names and texts; chunks in a row are one, as a reader would take them."""
    seen: list[tuple[str, str]] = []
    for item in items:
        if isinstance(item, Event):
            seen.append((item.name, str(item.data["n"])))
        elif seen and seen[-1][0] == item.stream:
            seen[-1] = (item.stream, seen[-1][1] + item.text)
        else:
            seen.append((item.stream, item.text))
    return seen


Action = tuple[str, str, int]
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("chunk"), st.sampled_from(["a", "b"]), st.integers(1, 3)),
        st.tuples(st.just("event"), st.just("reply"), st.integers(0, 9)),
        st.tuples(st.just("room"), st.just(""), st.integers(0, 400)),
        st.tuples(st.just("flush"), st.just(""), st.booleans()),
    ),
    max_size=150,
)


@given(actions=ACTIONS, merges=st.booleans())
def test_order_and_text_are_kept_and_credit_is_given_for_what_has_left(
    actions: list[Action], merges: bool
) -> None:
    line, told = Pipe(merges), {"a": Told(), "b": Told()}
    line.free = 0
    queue = SendQueue(line, Bell())
    expected: list[Item] = []
    tokens = {"a": 0, "b": 0}
    for number, (action, name, amount) in enumerate(actions):
        if action == "chunk":
            text = f"<{number}>"
            queue.chunk(name, text, amount, told[name])
            expected.append(TextChunk(name, text, amount, told[name]))
            tokens[name] += amount
        elif action == "event":
            queue.event(name, {"n": number})
            expected.append(Event(name, {"n": number}))
        elif action == "room":
            line.free = amount
        else:
            line.left = bool(amount)
            queue.flush()
        assert all(told[each].tokens <= tokens[each] for each in told)
        whole = "".join(text for _, text in shown(expected))
        assert whole.startswith("".join(text for _, text in shown(line.written)))
    line.free, line.left = 2**30, True
    queue.flush()
    assert shown(line.written) == shown(expected)
    assert {name: count.tokens for name, count in told.items()} == tokens
    assert not queue.unsettled


def test_an_event_goes_at_once_and_takes_the_chunks_before_it_along() -> None:
    line = Pipe()
    queue = SendQueue(line, bell := Bell())
    queue.chunk("a", "one", 1, Told())
    queue.chunk("a", " two", 1, Told())
    assert not line.written and bell.marked == 1
    queue.event("text_generated", {"n": 0})
    assert shown(line.written) == [("a", "one two"), ("text_generated", "0")]


def test_chunks_stay_apart_while_there_is_room_and_are_merged_for_who_polls() -> None:
    for merges, count in ((False, 5), (True, 1)):
        line, told = Pipe(merges), Told()
        queue = SendQueue(line, Bell())
        for number in range(5):
            queue.chunk("a", str(number), 2, told)
        queue.flush()
        assert len(line.written) == count and shown(line.written) == [("a", "01234")]
        assert told.tokens == 10


def test_what_waits_for_a_slow_client_is_merged_and_gets_no_credit() -> None:
    line, told = Pipe(), Told()
    line.free = 0
    queue = SendQueue(line, bell := Bell())
    for number in range(10_000):
        queue.chunk("a", "x", 1, told)
        if number in (0, 9_999):  # what came in one turn is looked at once
            queue.flush()
    assert told.tokens == 0 and bell.counts.merged == 10_000 - MERGE_BEYOND
    line.free, line.left = 2**30, False
    queue.flush()
    assert shown(line.written) == [("a", "x" * 10_000)] and len(line.written) == MERGE_BEYOND
    assert told.tokens == 0, "written is not yet gone"
    line.left = True
    queue.flush()
    assert told.tokens == 10_000


def test_a_chunk_of_another_generation_is_not_merged() -> None:
    line, told = Pipe(merges=True), Told()
    queue = SendQueue(line, Bell())
    for stream in ("a", "b", "a"):
        queue.chunk(stream, stream, 1, told)
    queue.flush()
    assert shown(line.written) == [("a", "a"), ("b", "b"), ("a", "a")]


@pytest.mark.parametrize(("size", "count"), [(1, MAX_EVENTS), (2**20, MAX_BYTES // 2**20)])
def test_a_client_that_asks_and_never_reads_is_dropped(size: int, count: int) -> None:
    line = Pipe()
    line.free = 0
    queue = SendQueue(line, Bell())
    sent = 0
    while not queue.closed:
        queue.event("bindings_list", {"n": "x" * size})
        sent += 1
        assert sent <= count + 2
    assert line.dropped and sent > count // 2
    queue.event("late", {"n": 0})
    queue.chunk("a", "late", 1, Told())
    line.free = 2**30
    queue.flush()
    assert not line.written and not queue.unsettled


def test_after_its_close_nothing_goes_out() -> None:
    line, told = Pipe(), Told()
    queue = SendQueue(line, Bell())
    queue.chunk("a", "x", 1, told)
    queue.close()
    queue.flush()
    queue.event("late", {"n": 0})
    assert line.closed and not line.written and told.tokens == 0


def test_what_json_has_not_is_refused() -> None:
    queue = SendQueue(line := Pipe(), Bell())
    with pytest.raises(ValueError, match="JSON"):
        queue.event("reply", {"n": float("nan")})
    assert not line.written


# Notices.


def queued(position: int) -> Queued:
    return Queued(position, 9, "all slots are in use")


def notices(items: Sequence[Item]) -> list[tuple[str, object]]:
    """Names, and what is distinctive of each."""
    return [
        (item.name, item.data.get("position", item.data.get("why", item.data.get("state"))))
        for item in items
        if isinstance(item, NoticeEvent)
    ]


def stuck(*, asked: bool = True) -> tuple[Pipe, Bell, SendQueue]:
    line = Pipe()
    line.free = 0
    return line, (bell := Bell()), SendQueue(line, bell, notices=asked)


def test_a_client_that_did_not_ask_for_notices_gets_none() -> None:
    line, bell = Pipe(), Bell()
    queue = SendQueue(line, bell)
    for notice in (queued(1), ModelStatus("b", "m", "loading"), Paused(""), Continued("")):
        queue.notice("a", notice)
    queue.flush()
    assert not line.written and not bell.marked and not queue.waiting


def test_notices_keep_their_place_among_chunks_and_events() -> None:
    line = Pipe()
    queue = SendQueue(line, Bell(), notices=True)
    queue.notice("a", queued(1))
    queue.chunk("a", "x", 1, Told())
    queue.notice("a", Paused("others have their turn"))
    queue.notice("a", Continued("a slot is free"))
    queue.chunk("a", "y", 1, Told())
    queue.event("text_generated", {"n": 0})
    assert [item.name for item in line.written] == [
        "queue", "text_chunk", "generation_paused", "generation_continued", "text_chunk",
        "text_generated",
    ]  # fmt: skip


def test_of_the_notices_of_a_kind_only_the_newest_waits() -> None:
    line, _, queue = stuck()
    for position in range(1000, 0, -1):
        queue.notice("a", queued(position))
        queue.notice("b", queued(position + 1))
        queue.notice("", ModelStatus("b", "m", f"state {position}"))
    assert queue.waiting == 3
    for count in range(5):
        queue.notice("a", Paused(f"{count}"))
        queue.notice("a", Continued(f"{count}"))
    line.free = 2**30
    queue.flush()
    assert notices(line.written) == [
        ("queue", 1), ("queue", 2), ("model_status", "state 1"),
        ("generation_paused", "4"), ("generation_continued", "4"),
    ]  # fmt: skip
    assert not queue.unsettled
    queue.notice("a", queued(7))  # nothing of that kind waits any more
    queue.flush()
    assert notices(line.written)[-1] == ("queue", 7)


def test_a_newer_notice_comes_after_what_was_sent_before_it() -> None:
    line, _, queue = stuck()
    queue.notice("a", queued(2))
    queue.notice("a", Paused("others have their turn"))
    queue.notice("a", queued(1))
    line.free = 2**30
    queue.flush()
    assert [name for name, _ in notices(line.written)] == ["generation_paused", "queue"]


def test_a_full_queue_loses_notices_and_never_its_client() -> None:
    line, bell, queue = stuck()
    for number in range(MAX_EVENTS):
        queue.event("bindings_list", {"n": number})
    for number in range(100):
        queue.notice(f"{number}", queued(1))
    assert queue.waiting == MAX_EVENTS and not line.dropped
    line.free = 2**30
    queue.flush()
    assert len(line.written) == MAX_EVENTS and not bell.counts.dropped


def test_notices_take_no_room_from_replies() -> None:
    line, _, queue = stuck()
    for number in range(2 * MAX_NOTICES):
        queue.notice(f"{number}", queued(1))
    assert queue.waiting == MAX_NOTICES and not queue.must_be_read
    for number in range(MAX_EVENTS):
        queue.event("bindings_list", {"n": number})
    assert queue.waiting == MAX_NOTICES + MAX_EVENTS and queue.must_be_read and not line.dropped


def test_after_its_close_a_queue_keeps_no_notice() -> None:
    line, _, queue = stuck()
    queue.notice("a", queued(1))
    queue.close()
    queue.notice("a", queued(1))
    line.free = 2**30
    queue.flush()
    assert not line.written and not queue.waiting


NOTICES: list[Notice] = [queued(1), ModelStatus("b", "m", "loaded"), Paused("x"), Continued("x")]


@given(actions=st.lists(st.one_of(st.sampled_from(NOTICES), st.integers(0, 300)), max_size=100))
def test_notices_change_nothing_of_what_else_is_sent(actions: list[Notice | int]) -> None:
    """Each number lets so many bytes out, after one chunk and one reply."""
    sent = []
    for asked in (True, False):
        line, _, queue = stuck(asked=asked)
        told = Told()
        for at, action in enumerate(actions):
            if isinstance(action, int):
                queue.chunk("a", f"<{at}>", 1, told)
                queue.event("reply", {"n": at})
                line.free = action
                queue.flush()
            else:
                queue.notice("a", action)
        line.free = 2**30
        queue.flush()
        assert told.tokens == sum(isinstance(action, int) for action in actions)
        assert not queue.unsettled
        sent.append(shown([item for item in line.written if not isinstance(item, NoticeEvent)]))
    assert sent[0] == sent[1]
