"""Each outcome has the events that clients of 2023 wait for, and those of today can tell apart."""

import math
from typing import Any

import pytest

from gateway.inference.outcomes import Busy, Cancelled, Failed, Finished, Gone, Outcome
from gateway.socketio.replies import acknowledgement, outcome_events
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
