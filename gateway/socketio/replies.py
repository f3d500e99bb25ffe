"""Events to clients for outcomes, notices and sessions: their names and fields.

No other module has names of events, except the table of endpoints.
"""

import math
from typing import Any

from gateway.inference.outcomes import Busy, Cancelled, Failed, Finished, Gone, Outcome
from gateway.scheduling.notices import (
    Continued,
    ModelStatus,
    Notice,
    Paused,
    PromptProgress,
    Queued,
)
from gateway.sessions.session import Session
from protocol import messages

NameAndData = tuple[str, dict[str, Any]]

CANCELED: NameAndData = ("generation_canceled", {"message": "Generation is canceled."})
LOST = "the server was started again while it generated this answer"


def outcome_events(id: str, outcome: Outcome) -> list[NameAndData]:
    """The events of an end, in order; the last is also the acknowledgement. None for Gone."""
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


def notice_event(id: str, notice: Notice) -> NameAndData:
    """The event of a notice; `id` is that of its generation. A ModelStatus names none."""
    match notice:
        case Queued(position=position, waiting=waiting, why=why, eta=eta):
            data = {"position": position, "waiting": waiting, "why": why, **_number("eta", eta, 1)}
            return "queue", {"id": id, **data}
        case ModelStatus(binding=binding, model=model, state=state, progress=done, error=error):
            known = {**_number("progress", done, 3), **({"error": error} if error else {})}
            return "model_status", {"binding": binding, "model": model, "state": state, **known}
        case PromptProgress(done=tokens, total=total, reused=reused):
            return "prompt_progress", {"id": id, "done": tokens, "total": total, "reused": reused}
        case Paused(why=why):
            return "generation_paused", {"id": id, "why": why}
        case Continued(why=why):
            return "generation_continued", {"id": id, "why": why}


def session_event(session: Session, default: int | None, running: str | None) -> NameAndData:
    """The `session` event; `default` is the active personality of those that activated none,
    `running` the id of the generation that continues for it."""
    return "session", {
        "token": session.token,
        "resumed": session.resumed,
        "binding": session.binding,
        "model": session.model,
        "personality": default if session.active is None else session.active,
        "id": running,
    }


def lost_event(id: str) -> NameAndData:
    """For a generation that was lost when the gateway restarted."""
    return "generation_error", {"error": LOST, "id": id}


def _counts(answer: messages.Finished) -> dict[str, Any]:
    """Fields of text_generated besides the text; log probabilities only if requested."""
    logprobs = {"logprobs": [_logprob(place) for place in answer.logprobs]}
    return (logprobs if answer.logprobs else {}) | {
        "reason": answer.reason,
        "tokens": answer.tokens,
        "prompt_tokens": answer.prompt_tokens,
        "reused_tokens": answer.reused_tokens,
        "dropped_tokens": answer.dropped_tokens,
    }


def _number(name: str, value: float | None, digits: int) -> dict[str, float]:
    """The field, if the value is known. JSON has no infinity."""
    return {} if value is None or not math.isfinite(value) else {name: round(value, digits)}


def _logprob(place: list[float]) -> dict[str, Any]:
    """`place` is [id, log probability, …], first of the chosen token, then of the likeliest."""
    pairs = [
        {"token": int(token), "logprob": probability if math.isfinite(probability) else None}
        for token, probability in zip(place[::2], place[1::2], strict=False)
        if math.isfinite(token)
    ]
    return {**pairs[0], "top": pairs[1:]} if pairs else {}
