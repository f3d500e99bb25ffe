"""2,000 seeded random sequences of events, eight at a time: each request has one answer.

A sequence belongs to one session: generations, cancels, selections and the disconnect of another
client, in random order and with random pauses. Every request gets exactly one answer and every
accepted generation exactly one end. A text comes from one model and from the session's own prompt.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from tests.server.contract.test_backpressure import metric
from tests.server.contract.test_generation import select
from tests.support.harness import Client, Event, Home, chunks, client, names, run, until
from tests.support.invariants import ENDS, watched

SEQUENCES = 2000
SIDE_BY_SIDE = 8
MODELS = {"echo": ("echo", "lorem"), "single": ("one", "two")}
LOREM = {"lorem", "ipsum", "dolor", "sit", "amet"}
RESTS = (0.0, 0.0, 0.0, 0.001, 0.01)


@dataclass
class Sequence:
    """What one session requests, and a check of the answers."""

    seed: int
    binding: str
    asked: Counter[str] = field(default_factory=Counter)
    prompts: list[str] = field(default_factory=list)

    async def send(self, connected: Client, draw: Random) -> None:
        for _ in range(draw.randint(2, 6)):
            await self._step(connected, draw)
            await asyncio.sleep(draw.choice(RESTS))

    async def _step(self, connected: Client, draw: Random) -> None:
        match draw.choice(("generate", "generate", "cancel", "select", "look")):
            case "generate":
                self.asked["generate_text"] += 1
                prompt = " ".join(f"{self.seed}.{n}" for n in range(draw.randint(1, 30)))
                self.prompts.append(prompt)
                wanted = {"prompt": prompt, "n_predicts": draw.randint(1, 12)}
                await connected.emit("generate_text", wanted)
            case "cancel":
                self.asked["cancel_generation"] += 1
                await connected.emit("cancel_generation")
            case "select":
                self.asked["select_model"] += 1
                model = draw.choice(MODELS[self.binding])
                await connected.emit("select_model", {"model_name": model})
            case "look":
                self.asked["list_active_personalities"] += 1
                await connected.emit("list_active_personalities")

    async def check_answers(self, connected: Client) -> None:
        """Wait for all answers, and check that nothing else follows."""
        events: list[Event] = []
        while _answers(events) != self.asked:
            events.append(await connected.next())
            assert _answers(events) <= self.asked, (self, names(events))
        late = await connected.settle()
        assert late == [], (self, names(events), late)
        by_id: dict[str, list[Event]] = {}
        for name, data in events:
            if name == "text_chunk" or name in ENDS:
                by_id.setdefault(data["id"], []).append((name, data))
        assert len(by_id) == self.asked["generate_text"], (self, names(events))
        for of_one in by_id.values():
            self._check_generation(of_one)

    def _check_generation(self, events: list[Event]) -> None:
        assert [name in ENDS for name in names(events)] == [False] * (len(events) - 1) + [True]
        name, end = events[-1]
        assert name != "generation_error", (self, end)
        if name == "buzzy":
            return
        text = end["text"]
        assert text == chunks(events), self
        words = text.split()
        if self.binding == "single":
            assert text in ("".join(f"{m}{n} " for n in range(len(words))) for m in ("one", "two"))
        else:
            assert set(words) <= LOREM or any(p.startswith(text) for p in self.prompts), self


def _answers(events: list[Event]) -> Counter[str]:
    """Number of answers by the name of the request."""
    of = {
        **dict.fromkeys(ENDS, "generate_text"),
        "generation_canceled": "cancel_generation",
        "active_personalities_list": "list_active_personalities",
    }
    return Counter(of.get(name, name) for name in names(events) if name != "text_chunk")


@asynccontextmanager
async def leaving(server: Home, draw: Random) -> AsyncIterator[None]:
    """A client that disconnects while its requests are running."""
    async with client(server) as gone:
        for event, data in (
            ("generate_text", {"prompt": "x", "n_predicts": 10_000}),
            ("select_model", {"model_name": "lorem-10ms"}),
            ("generate_text", {"prompt": "y", "n_predicts": 10_000}),
        )[: draw.randint(1, 3)]:
            await gone.emit(event, data)
        await asyncio.sleep(draw.choice(RESTS))
        yield


async def run_sequence(connected: Client, server: Home, seed: int, binding: str) -> Counter[str]:
    draw, sequence = Random(seed), Sequence(seed, binding)
    if draw.random() < 0.1:
        async with leaving(server, draw):
            await sequence.send(connected, draw)
    else:
        await sequence.send(connected, draw)
    await sequence.check_answers(connected)
    return sequence.asked


@pytest.mark.timeout(240)
def test_two_thousand_interleavings_have_one_end_each(server: Home) -> None:
    async def session(number: int) -> Counter[str]:
        binding = "single" if number % 2 else "echo"
        asked: Counter[str] = Counter()
        async with client(server) as connected:
            await select(connected, binding, MODELS[binding][0])
            for seed in range(number, SEQUENCES, SIDE_BY_SIDE):
                asked += await run_sequence(connected, server, seed, binding)
        return asked

    async def scenario() -> Any:
        return sum(await asyncio.gather(*map(session, range(SIDE_BY_SIDE))), Counter())

    asked = run(scenario(), 200)
    print(f"{SEQUENCES} sequences: {dict(asked)}")
    until(lambda: metric(server, "requests_running") == 0, "the end of all that ran")

    async def afterwards() -> None:
        async with watched(server):
            pass

    run(afterwards())
