"""What the client waits for, in words; nothing that a server sends breaks it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.__main__ import NOTICES
from chat.waiting import Waiting
from gateway.scheduling.notices import (
    Continued,
    ModelStatus,
    Notice,
    Paused,
    PromptProgress,
    Queued,
)
from gateway.socketio.replies import notice_event

SECOND = Queued(2, 4, "all slots are in use")
LOADING = ModelStatus("llama_cpp", "pebble-f16.gguf", "loading", 0.52)
LOADED = ModelStatus("llama_cpp", "pebble-f16.gguf", "loaded")


def line(*notices: Notice) -> str:
    waiting = Waiting()
    for notice in notices:
        waiting.take(*notice_event("id", notice))
    return waiting.line


@pytest.mark.parametrize(
    ("notices", "shown"),
    [
        ([], ""),
        ([Queued(1, 1, "a worker is needed")], "next in line: a worker is needed"),
        ([SECOND], "2nd in line: all slots are in use"),
        ([Queued(3, 4, "", 41.6)], "3rd in line, about 42 s"),
        ([Queued(1111, 2000, "all slots are in use", 600)],
         "1,111th in line, about 10 min: all slots are in use"),
        ([Queued(21, 30, "m is busy", 0.2)], "21st in line: m is busy"),
        ([ModelStatus("echo", "", "starting")], "starting a worker of echo"),
        ([ModelStatus("echo", "lorem", "starting")], "starting a worker for lorem"),
        ([ModelStatus("echo", "lorem", "loading")], "loading lorem …"),
        ([LOADING], "loading pebble-f16.gguf  [#####-----] 52 %"),
        ([ModelStatus("b", "m", "loading", 1.0)], "loading m  [##########] 100 %"),
        ([ModelStatus("b", "m", "failed", error="no\nmemory")],
         "m could not be loaded: no memory"),
        ([LOADING, SECOND], "loading pebble-f16.gguf  [#####-----] 52 %, 2nd in line"),
        ([LOADING, Queued(1, 1, "m is being loaded")],
         "loading pebble-f16.gguf  [#####-----] 52 %"),
        ([SECOND, LOADING, LOADED], "2nd in line: all slots are in use"),
        ([LOADING, LOADED], ""),
        ([SECOND, LOADING, PromptProgress(1200, 3000, 0)],
         "reading the prompt  [####------] 40 %  (1,200 of 3,000 tokens)"),
        ([SECOND, PromptProgress(3000, 3000, 0)], ""),
        ([PromptProgress(2950, 3000, 2940)], ""),
        ([PromptProgress(5, 20, 0)], ""),
        ([PromptProgress(1200, 3000, 0), Queued(1, 2, "m is needed")],
         "next in line: m is needed"),
        ([SECOND, Paused("others have their turn")], "paused: others have their turn"),
        ([Paused("others have their turn"), SECOND],
         "paused: others have their turn, 2nd in line"),
        ([Paused("others"), SECOND, Continued("a slot is free")], "continued: a slot is free"),
    ],
)  # fmt: skip
def test_notices_are_one_line_in_words(notices: list[Notice], shown: str) -> None:
    assert line(*notices) == shown


def test_a_long_name_is_cut() -> None:
    shown = line(ModelStatus("b", "x" * 500, "loading", 0.5))
    assert len(shown) < 80 and shown.endswith("x…  [#####-----] 50 %")


def test_what_was_said_is_forgotten_with_the_next_request() -> None:
    waiting = Waiting()
    waiting.take("queue", {"position": 3, "why": "all slots are in use"})
    waiting.clear()
    assert waiting.line == ""


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()),
    st.sampled_from(["starting", "loading", "loaded", "failed", 2**70, -1, 0, 10**400]),
)  # fmt: skip
FIELDS = ["id", "position", "waiting", "why", "eta", "binding", "model", "state", "progress",
          "error", "done", "total", "reused"]  # fmt: skip


@given(st.lists(st.tuples(
    st.sampled_from(NOTICES), VALUES | st.dictionaries(st.sampled_from(FIELDS), VALUES)
)))  # fmt: skip
def test_whatever_comes_is_one_line_that_controls_nothing(said: list[tuple[str, Any]]) -> None:
    waiting = Waiting()
    for event, data in said:
        waiting.take(event, data)
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160
                       for character in waiting.line)  # fmt: skip
        waiting.line.encode()
