"""One log line for each request when it is over: ids, times and counts, no texts."""

import logging
import time
from types import TracebackType
from typing import Any, Self

from protocol.logs import with_fields

log = logging.getLogger(__name__)

COUNTS = ("tokens", "prompt_tokens", "reused_tokens", "dropped_tokens")


class RequestLog:
    """Logs one request, from its arrival. Without a call of `finish` its end is `failed` when
    the block raised an error, and `left` when it was cancelled."""

    def __init__(self, event: str, client: str, holder: str) -> None:
        """`event` is a known event's name, or `unknown`."""
        self._event = event
        self._end = "left"
        self._fields: dict[str, Any] = {"client": client, "holder": holder or None}
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self._end = "failed"
        seconds = round(time.monotonic() - self._began, 4)
        log.info("request", extra=with_fields(
            event=self._event, end=self._end, **self._fields, seconds=seconds
        ))  # fmt: skip

    def selected(self, binding: str, model: str) -> None:
        self._fields |= {"binding": binding, "model": model}

    def finish(self, end: str, reply: dict[str, Any], *, ours: tuple[str, ...] = ()) -> None:
        """`ours` are keys of the reply with texts of the server; other texts may repeat what a
        client has sent, and are not logged."""
        self._end = end
        self._fields |= {name: str(reply[name])[:64] for name in ours if reply.get(name)}
        self._fields |= _counts(reply)


def _counts(reply: dict[str, Any]) -> dict[str, int]:
    """Numbers, and the lengths of lists and texts."""
    counts = {name: reply[name] for name in COUNTS if type(reply.get(name)) is int}
    if isinstance(reply.get("text"), str):
        counts["characters"] = len(reply["text"])
    lists = [len(value) for value in reply.values() if isinstance(value, list)]
    return {**counts, "entries": lists[0]} if lists else counts
