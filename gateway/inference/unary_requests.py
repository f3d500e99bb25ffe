"""Requests with one answer: tokenize, detokenize, embed.

Workers answer those of one kind in the order in which they come. So few of one owner are in
a worker at a time: who sends very many waits for these, and others do not.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import TypeVar

from gateway.errors import LoadFailed
from gateway.scheduling.dispatcher import Dispatcher
from gateway.scheduling.notices import Notify
from gateway.workers.link import Link
from protocol.messages import (
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Failed,
    Message,
    Tokenize,
    Tokenized,
)

AT_ONCE = 4
"""Of one owner, for one model, of one kind; more wait here."""

Result = TypeVar("Result", Tokenized, Detokenized, Embedded)


class UnaryRequests:
    """Each method raises LoadFailed when the model cannot do it, Busy when too much of its owner
    waits, and what `Dispatcher.ensure` raises. `notify` gets its notices."""

    def __init__(self, dispatcher: Dispatcher, link: Link) -> None:
        self._dispatcher = dispatcher
        self._link = link
        self._places: dict[Hashable, asyncio.Semaphore] = {}
        self._users: Counter[Hashable] = Counter()

    async def tokenize(
        self, owner: str, binding: str, model: str, text: str, notify: Notify | None = None
    ) -> list[int]:
        answer = await self._run(
            owner, binding, model, lambda id: Tokenize(id, text), Tokenized, notify
        )
        return answer.tokens

    async def detokenize(
        self, owner: str, binding: str, model: str, tokens: list[int],
        notify: Notify | None = None,
    ) -> str:  # fmt: skip
        answer = await self._run(
            owner, binding, model, lambda id: Detokenize(id, tokens), Detokenized, notify
        )
        return answer.text

    async def embed(
        self, owner: str, binding: str, model: str, text: str, notify: Notify | None = None
    ) -> list[float]:
        answer = await self._run(
            owner, binding, model, lambda id: Embed(id, text), Embedded, notify
        )
        vector = answer.vector
        if not all(map(math.isfinite, vector)):
            raise LoadFailed("the model's embedding is not made of finite numbers")
        return vector

    async def _run(
        self, owner: str, binding: str, model: str, build: Callable[[int], Message],
        kind: type[Result], notify: Notify | None,
    ) -> Result:  # fmt: skip
        with self._dispatcher.unary(owner, (binding, model)):
            async with self._place((owner, binding, model, kind)):
                worker = await self._dispatcher.ensure(binding, model, notify=notify)
                async with self._link.request(worker, build) as call:
                    answer = await call.answer
        if isinstance(answer, Failed):
            raise LoadFailed(answer.error)
        if not isinstance(answer, kind):
            raise LoadFailed(f"the worker answered with {type(answer).__name__}")
        return answer

    @asynccontextmanager
    async def _place(self, key: Hashable) -> AsyncIterator[None]:
        places = self._places.setdefault(key, asyncio.Semaphore(AT_ONCE))
        self._users[key] += 1
        try:
            async with places:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._places[key]
