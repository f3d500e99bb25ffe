"""Unary requests that have started: which of them computes its next piece.

Between two passes of the generations one piece of one request is computed, so a client
that sends many of them delays the others' next token by one piece. Those of one kind run
one after another. The kinds take turns: a short tokenize does not wait for long embeds.
"""

import logging
from collections import deque
from collections.abc import Iterator

from protocol.messages import Message
from worker.unary_requests import UnaryRequest, UnaryRequests

log = logging.getLogger(__name__)


class UnaryJob:
    """A Load, Tokenize, Detokenize or Embed."""

    __slots__ = ("cancelled", "id", "message", "pieces")

    def __init__(self, message: UnaryRequest) -> None:
        self.id = message.id
        self.message = message
        self.cancelled = False
        self.pieces: Iterator[Message | None] | None = None
        """None until its first piece."""


class UnaryJobs:
    """Everything belongs to the model thread."""

    def __init__(self, requests: UnaryRequests) -> None:
        self._requests = requests
        self._kinds: dict[type[UnaryRequest], deque[UnaryJob]] = {}
        """The first kind is the next one."""

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, job: UnaryJob) -> None:
        self._kinds.setdefault(type(job.message), deque()).append(job)

    def advance(self) -> tuple[UnaryJob, Message] | None:
        """Compute one piece; a request and its reply, if that was its last one."""
        kind, jobs = next(iter(self._kinds.items()))
        del self._kinds[kind]
        self._kinds[kind] = jobs
        job = jobs[0]
        if job.pieces is None:
            job.pieces = self._requests.pieces(job.message)
        reply = next(job.pieces)
        if reply is None:
            return None
        self._remove(job)
        return job, reply

    def take_cancelled(self) -> list[UnaryJob]:
        """Stop the cancelled ones."""
        cancelled = [job for jobs in self._kinds.values() for job in jobs if job.cancelled]
        for job in cancelled:
            self._remove(job)
        return cancelled

    def _remove(self, job: UnaryJob) -> None:
        kind = type(job.message)
        self._kinds[kind].remove(job)
        if not self._kinds[kind]:
            del self._kinds[kind]
        try:
            getattr(job.pieces, "close", lambda: None)()
        except Exception:
            log.exception("request %d: error while closing it", job.id)
