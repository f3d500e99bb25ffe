"""What does the log say of each request? One line when it is over: ids, times, counts, no texts."""

import logging
import time
from types import TracebackType
from typing import Any, Self

from gateway.sessions.session import Session
from protocol.logs import with_fields

log = logging.getLogger(__name__)

COUNTS = ("tokens", "prompt_tokens", "reused_tokens", "dropped_tokens")
WORDS = ("id", "code", "reason")
"""Of a generation's end what is ours to name. Other answers repeat what a client has sent."""


class Entry:
    """Of one request, from when it came; an `answer` that is never set is of one who left."""

    def __init__(self, session: Session, event: str, selection: tuple[str, str]) -> None:
        """`event` is one that we know, or our word for those that we do not."""
        self._session = session
        self._event = event
        self._generates = event == "generate_text"
        self._selection = selection if self._generates else (None, None)
        self._began = time.monotonic()
        self.answer: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        binding, model = self._selection
        words = {name: str(self.answer.get(name, ""))[:64] or None for name in WORDS}
        log.info("request", extra=with_fields(
            event=self._event,
            end=_end(self.answer),
            client=self._session.sid,
            holder=self._session.allowance.holder.name or None,
            binding=binding,
            model=model,
            **(words if self._generates else {}),
            **_counts(self.answer),
            seconds=round(time.monotonic() - self._began, 4),
        ))  # fmt: skip


def _end(answer: dict[str, Any]) -> str:
    if not answer:
        return "left"
    if "error" in answer or answer.get("success") is False:
        return "failed"
    if "id" in answer and "message" in answer:
        return "busy"
    if "id" in answer and "text" in answer and "reason" not in answer:
        return "cancelled"
    return "done"


def _counts(answer: dict[str, Any]) -> dict[str, int]:
    """The numbers, and how long the lists and texts are."""
    counts = {name: answer[name] for name in COUNTS if type(answer.get(name)) is int}
    if isinstance(answer.get("text"), str):
        counts["characters"] = len(answer["text"])
    lists = [len(value) for value in answer.values() if isinstance(value, list)]
    return {**counts, "entries": lists[0]} if lists else counts
