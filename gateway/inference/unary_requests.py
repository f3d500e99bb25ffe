"""Requests with one answer: tokenize, detokenize, embed."""

import math
from collections.abc import Callable
from typing import TypeVar

from gateway.errors import LoadFailed
from gateway.scheduling.dispatcher import Dispatcher
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

Result = TypeVar("Result", Tokenized, Detokenized, Embedded)


class UnaryRequests:
    """Each method raises LoadFailed when the model cannot do it, and what `Dispatcher.ensure`
    raises."""

    def __init__(self, dispatcher: Dispatcher, link: Link) -> None:
        self._dispatcher = dispatcher
        self._link = link

    async def tokenize(self, binding: str, model: str, text: str) -> list[int]:
        return (await self._run(binding, model, lambda id: Tokenize(id, text), Tokenized)).tokens

    async def detokenize(self, binding: str, model: str, tokens: list[int]) -> str:
        answer = await self._run(binding, model, lambda id: Detokenize(id, tokens), Detokenized)
        return answer.text

    async def embed(self, binding: str, model: str, text: str) -> list[float]:
        vector = (await self._run(binding, model, lambda id: Embed(id, text), Embedded)).vector
        if not all(map(math.isfinite, vector)):
            raise LoadFailed("the model's embedding is not made of finite numbers")
        return vector

    async def _run(
        self, binding: str, model: str, build: Callable[[int], Message], kind: type[Result]
    ) -> Result:
        worker = await self._dispatcher.ensure(binding, model)
        async with self._link.request(worker, build) as call:
            answer = await call.answer
        if isinstance(answer, Failed):
            raise LoadFailed(answer.error)
        if not isinstance(answer, kind):
            raise LoadFailed(f"the worker answered with {type(answer).__name__}")
        return answer
