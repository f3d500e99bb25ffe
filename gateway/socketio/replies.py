"""LoLLMs' names and fields for what the core reports: outcomes, sessions.

The only place, beside the table of endpoints, that knows event names.
"""

import math
from typing import Any

from gateway.inference.outcomes import Busy, Cancelled, Failed, Finished, Gone, Outcome
from gateway.sessions.session import Session
from protocol import messages

NameAndData = tuple[str, dict[str, Any]]

CANCELED: NameAndData = ("generation_canceled", {"message": "Generation is canceled."})
LOST = "the server was started again while it generated this answer"


def outcome_events(id: str, outcome: Outcome) -> list[NameAndData]:
    """In order; the last one is also the acknowledgement. Nothing for a client that is gone."""
    match outcome:
        case Finished(text=text, answer=answer):
            events = [("text_generated", {"text": text, **_counts(answer)})]
        case Failed(error=error, code=code, tokens=tokens):
            # No text_generated: it would pass a truncated answer off as complete.
            known = {"code": code} if code else {}
            counted = {} if tokens is None else {"tokens": tokens}
            events = [("generation_error", {"error": error, **known, **counted})]
        case Cancelled(text=text):
            # A text_generated too: a real client of 2023 ends on nothing else.
            events = [CANCELED, ("text_generated", {"text": text})]
        case Busy():
            events = [("buzzy", {"message": "I am buzzy. Come back later."})]
        case Gone():
            events = []
    return [(name, {**data, "id": id}) for name, data in events]


def acknowledgement(id: str, outcome: Outcome) -> dict[str, Any]:
    events = outcome_events(id, outcome)
    return events[-1][1] if events else {}


def session_event(session: Session, running: str | None) -> NameAndData:
    """Who the client is; `running` is the id of the generation that goes on for it."""
    return "session", {
        "token": session.token,
        "resumed": session.resumed,
        "binding": session.binding,
        "model": session.model,
        "personality": session.active,
        "id": running,
    }


def lost_event(id: str) -> NameAndData:
    """The generation that an earlier gateway took with it."""
    return "generation_error", {"error": LOST, "id": id}


def _counts(answer: messages.Finished) -> dict[str, Any]:
    """What text_generated has beside the text; log probabilities only if requested."""
    logprobs = {"logprobs": [_logprob(place) for place in answer.logprobs]}
    return (logprobs if answer.logprobs else {}) | {
        "reason": answer.reason,
        "tokens": answer.tokens,
        "prompt_tokens": answer.prompt_tokens,
        "reused_tokens": answer.reused_tokens,
        "dropped_tokens": answer.dropped_tokens,
    }


def _logprob(place: list[float]) -> dict[str, Any]:
    """[id, log probability, …] of the chosen token and then of the likeliest there."""
    pairs = [
        {"token": int(token), "logprob": probability if math.isfinite(probability) else None}
        for token, probability in zip(place[::2], place[1::2], strict=False)
        if math.isfinite(token)
    ]
    return {**pairs[0], "top": pairs[1:]} if pairs else {}
