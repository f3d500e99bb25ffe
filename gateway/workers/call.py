"""One request in a worker, from its first frame to its answer, with its flow control."""

import asyncio
from collections.abc import Callable, Hashable

from gateway.workers.worker import Worker
from protocol.messages import (
    Chunk,
    Credit,
    Detokenized,
    Embedded,
    Failed,
    Finished,
    Loaded,
    LoadProgress,
    Message,
    PromptProgress,
    Tokenized,
)

Answer = Finished | Failed | Loaded | Tokenized | Detokenized | Embedded
"""A message of these kinds is the last one of its request."""

CREDIT_PORTION = 64
"""Tokens in one Credit message: a message for every token would cost more than the token."""


REPORT_SECONDS = 0.1
"""Between two reports of progress that are passed on; workers send at most four a second."""


class Call:
    __slots__ = (
        "_owed", "_reported_at", "_send", "answer", "cancelled_at", "feed", "id", "progress",
        "tag", "worker",
    )  # fmt: skip

    def __init__(
        self,
        send: Callable[[Worker, Message], None],
        id: int,
        worker: Worker,
        feed: "Feed",
        tag: Hashable | None,
    ) -> None:
        self._send = send
        self.id = id
        self.worker = worker
        self.feed = feed
        self.tag = tag
        self.progress: OnProgress = no_progress
        """Called with what the worker reports meanwhile; must neither wait nor raise."""
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.cancelled_at = 0.0
        self._owed = 0
        self._reported_at = 0.0

    def report(self, message: "Progress", now: float) -> None:
        """Pass it on, unless the worker sends far more than an honest one."""
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            self.progress(message)

    def grant(self, tokens: int) -> None:
        """Let the worker send so many tokens more. Credit is sent in portions."""
        self._owed += tokens
        if self._owed >= CREDIT_PORTION and not self.answer.done():
            self._send(self.worker, Credit(self.id, self._owed))
            self._owed = 0


Feed = Callable[[Call, Chunk], None]
Progress = LoadProgress | PromptProgress
OnProgress = Callable[[Progress], None]


def no_chunks(call: Call, chunk: Chunk) -> None:
    """Ignore it: the request streams nothing, or is over and the worker will know in a moment."""


def no_progress(progress: Progress) -> None:
    """Ignore it: nobody has asked for it, or waits for it any more."""
