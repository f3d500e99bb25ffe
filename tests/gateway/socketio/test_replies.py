"""Each outcome has the events that clients of 2023 wait for, and those of today can tell apart."""

import math
from typing import Any

import pytest

from gateway.inference.outcomes import Busy, Cancelled, Failed, Finished, Gone, Outcome
from gateway.scheduling.notices import (
    Continued,
    ModelStatus,
    Notice,
    Paused,
    PromptProgress,
    Queued,
)
from gateway.socketio.replies import acknowledgement, notice_event, outcome_events
from protocol import messages

COUNTS = {
    "reason": "stop", "tokens": 1, "prompt_tokens": 5, "reused_tokens": 2, "dropped_tokens": 0,
}  # fmt: skip
ANSWER = messages.Finished(1, "stop", 1, prompt_tokens=5, reused_tokens=2)


@pytest.mark.parametrize(
    ("outcome", "events"),
    [
        (Finished("a", ANSWER), [("text_generated", {"text": "a", **COUNTS})]),
        (
            Failed("because", "c", 7),
            [("generation_error", {"error": "because", "code": "c", "tokens": 7})],
        ),
        (Failed("because"), [("generation_error", {"error": "because"})]),
        (Failed("at once", "c", 0), [("generation_error",
                                      {"error": "at once", "code": "c", "tokens": 0})]),
        (Busy(), [("buzzy", {"message": "I am buzzy. Come back later."})]),
        (
            Cancelled("so far"),
            [
                ("generation_canceled", {"message": "Generation is canceled."}),
                ("text_generated", {"text": "so far"}),
            ],
        ),
        (Gone(), []),
    ],
)  # fmt: skip
def test_an_outcome_has_its_events_with_the_id(
    outcome: Outcome, events: list[tuple[str, dict[str, Any]]]
) -> None:
    assert outcome_events("name", outcome) == [
        (name, {**data, "id": "name"}) for name, data in events
    ]
    assert acknowledgement("name", outcome) == ({**events[-1][1], "id": "name"} if events else {})


def test_log_probabilities_are_those_that_are_numbers_and_only_if_there_are_any() -> None:
    places = [[5.0, -0.5, 6.0, -1.5], [7.0, -math.inf], [math.nan, 0.0], []]
    answer = messages.Finished(1, "stop", 4, logprobs=places)
    [(_, data)] = outcome_events("name", Finished("text", answer))
    assert data["logprobs"] == [
        {"token": 5, "logprob": -0.5, "top": [{"token": 6, "logprob": -1.5}]},
        {"token": 7, "logprob": None, "top": []},
        {},
        {},
    ]
    assert "logprobs" not in outcome_events("name", Finished("text", ANSWER))[0][1]


@pytest.mark.parametrize(
    ("notice", "name", "data"),
    [
        (Queued(2, 5, "all slots are in use", 12.345), "queue",
         {"id": "x", "position": 2, "waiting": 5, "why": "all slots are in use", "eta": 12.3}),
        (Queued(1, 1, "a worker"), "queue",
         {"id": "x", "position": 1, "waiting": 1, "why": "a worker"}),
        (ModelStatus("b", "m", "loading", 2 / 3), "model_status",
         {"binding": "b", "model": "m", "state": "loading", "progress": 0.667}),
        (ModelStatus("b", "m", "starting"), "model_status",
         {"binding": "b", "model": "m", "state": "starting"}),
        (ModelStatus("b", "m", "failed", error="no memory"), "model_status",
         {"binding": "b", "model": "m", "state": "failed", "error": "no memory"}),
        (PromptProgress(20, 100, 10), "prompt_progress",
         {"id": "x", "done": 20, "total": 100, "reused": 10}),
        (Paused("others have their turn"), "generation_paused",
         {"id": "x", "why": "others have their turn"}),
        (Continued("a slot is free"), "generation_continued",
         {"id": "x", "why": "a slot is free"}),
    ],
)  # fmt: skip
def test_a_notice_is_an_event_with_the_fields_that_are_known(
    notice: Notice, name: str, data: dict[str, Any]
) -> None:
    assert notice_event("x", notice) == (name, data)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_estimate_that_is_no_number_is_left_out(value: float) -> None:
    assert "eta" not in notice_event("x", Queued(1, 1, "", value))[1]
    assert "progress" not in notice_event("x", ModelStatus("b", "m", "loading", value))[1]
