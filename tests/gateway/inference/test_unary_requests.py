"""Whose tokenize and embed requests are in a worker, where one holder sends very many."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

from gateway.inference.unary_requests import AT_ONCE, UnaryRequests
from gateway.scheduling.notices import ModelStatus, Notice, Notify
from protocol.messages import Message, Tokenize, Tokenized
from tests.support.harness import run


class Worker:
    """Dispatcher and link of one worker, which answers in the order of arrival when it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, asyncio.Future[Tokenized]]] = []

    @contextmanager
    def unary(self, owner: str, key: tuple[str, str]) -> Iterator[None]:
        yield

    async def ensure(self, binding: str, model: str, *, notify: Notify | None) -> "Worker":
        if notify:
            notify(ModelStatus(binding, model, "loading"))
        return self

    @asynccontextmanager
    async def request(self, worker: Any, build: Callable[[int], Message]) -> AsyncIterator[Any]:
        message = build(1)
        assert isinstance(message, Tokenize)
        entry = message.text, asyncio.get_running_loop().create_future()
        self.asked.append(entry)
        yield SimpleNamespace(answer=entry[1])

    def answer_first(self) -> None:
        _, answer = self.asked.pop(0)
        answer.set_result(Tokenized(1, [5]))


def test_a_holder_that_sends_very_many_makes_others_wait_for_a_few() -> None:
    async def scenario() -> None:
        worker: Any = Worker()
        unary = UnaryRequests(worker, worker)

        def ask(holder: str, model: str = "m") -> asyncio.Task[list[int]]:
            return asyncio.create_task(unary.tokenize(holder, "b", model, holder))

        flood = [ask("mallory") for _ in range(100)]
        await asyncio.sleep(0)
        alice = ask("alice")
        other_model = ask("mallory", "n")
        await asyncio.sleep(0)
        texts = [text for text, _ in worker.asked]
        assert texts == ["mallory"] * AT_ONCE + ["alice", "mallory"]
        flood.pop().cancel()  # while it waits
        flood.pop(0).cancel()  # in the worker
        del worker.asked[0]
        while worker.asked:
            worker.answer_first()
            await asyncio.sleep(0.001)
        assert await alice == await other_model == [5]
        assert await asyncio.gather(*flood) == [[5]] * 98

    run(scenario())


def test_a_client_that_asks_for_notices_hears_of_the_load_that_its_request_waits_for() -> None:
    async def scenario() -> None:
        worker: Any = Worker()
        told: list[Notice] = []
        request = UnaryRequests(worker, worker).tokenize("alice", "b", "m", "text", told.append)
        task = asyncio.create_task(request)
        await asyncio.sleep(0)
        assert told == [ModelStatus("b", "m", "loading")]
        worker.answer_first()
        assert await task == [5]

    run(scenario())
