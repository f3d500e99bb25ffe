"""Invariants that hold during and after every fault; the tests inject the faults.

`watched` asserts: each generation has one end; its chunks make up its text; no event belongs to
another session; the gateway is the same process; the saved state is unchanged; afterwards a normal
generation succeeds; and a bystander, a client of another worker, is not affected. `stopped`
asserts at the end that no process and no socket is left.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Any

from protocol.run_folder import run_folder
from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import Client, Event, Home, chunks, client, names, until
from tests.support.processes import all_gone, nothing_left, tree

GAP = 2.0
"""Seconds between two chunks of a bystander. 0.25 are promised; a busy machine gets more."""
ENDS = ("text_generated", "generation_error", "buzzy")
BYSTANDER = ("echo", "lorem-10ms")


def lorem(tokens: int, seed: int) -> str:
    """The text that echo's models `lorem` generate."""
    draw, words = Random(seed).random, ("lorem ", "ipsum ", "dolor ", "sit ", "amet ")
    return "".join(words[int(draw() * len(words))] for _ in range(tokens))


def checked(events: list[Event]) -> Any:
    """Check for one end, whose id all chunks have and whose text they make; return its payload."""
    end = ends_once(events)
    assert {data["id"] for _, data in events} == {end["id"]}
    if events[-1][0] == "text_generated":
        assert end["text"] == chunks(events)
    return end


async def asked(connected: Client, prompt: str, **fields: Any) -> tuple[str, list[Event]]:
    """Run one generation, with exactly one end; return the name of its end and all events."""
    events = await connected.generate(prompt, **fields) + await connected.settle()
    checked(events)
    return events[-1][0], events


class Bystander:
    """A client with a long generation on a worker that has no fault."""

    def __init__(self, connected: Client, seed: int) -> None:
        self._client = connected
        self._seed = seed
        self._events: list[Event] = []
        self._times: list[float] = []

    async def begin(self) -> None:
        await select(self._client, *BYSTANDER)
        fields = {"n_predicts": 100_000, "parameters": {"seed": self._seed}}
        await self._client.emit("generate_text", {"prompt": "x", **fields})
        await self._take()

    async def listen(self) -> None:
        while True:
            await self._take()

    async def end(self) -> float:
        """Stop, check all events and return the largest gap between two of them, in seconds."""
        await self._client.emit("cancel_generation")
        while self._events[-1][0] not in ENDS:
            await self._take()
        events = [event for event in self._events if event[0] != "generation_canceled"]
        end = checked(events + await self._client.settle())
        assert events[-1][0] == "text_generated", end
        assert end["text"] == lorem(len(end["text"].split()), self._seed)
        gaps = [b - a for a, b in zip(self._times, self._times[1:], strict=False)]
        return max(gaps, default=0.0)

    async def _take(self) -> None:
        self._events.append(await self._client.next())
        self._times.append(time.monotonic())


def saved(server: Home) -> dict[str, Any]:
    """The saved state, as a starting gateway would read it."""
    answer: dict[str, Any] = json.loads((server.folder / "state.json").read_text())
    return answer


async def status(server: Home) -> dict[str, Any]:
    code, body = await asyncio.to_thread(server.http, "/status")
    assert code == 200, body
    answer: dict[str, Any] = json.loads(body)
    return answer


@asynccontextmanager
async def watched(server: Home, seed: int = 1, gap: float = GAP) -> AsyncIterator[None]:
    """Assert the invariants. Select before the block: the saved state may not change in it."""
    async with client(server) as connected:
        bystander = Bystander(connected, seed)
        await bystander.begin()
        gateway, before = (await status(server))["pid"], saved(server)
        listening = asyncio.create_task(bystander.listen())
        try:
            yield
        finally:
            listening.cancel()
            await asyncio.wait([listening])
        largest = await bystander.end()
        print(f"a bystander's largest gap: {largest * 1000:.0f} ms")
        assert largest < gap
        assert saved(server) == before
        now = await status(server)
        assert now["pid"] == gateway and Path(f"/proc/{gateway}").exists()
        end, events = await asked(connected, "x", n_predicts=5, parameters={"seed": seed})
        assert end == "text_generated" and chunks(events) == lorem(5, seed)
        assert names(events) == ["text_chunk"] * 5 + ["text_generated"]


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextmanager
def stopped(server: Home) -> Iterator[Home]:
    """Stop a supervised server at the end, and check that nothing of it is left."""
    launcher = server.launch()
    before = descriptors(server.gateway_pid())
    yield server
    # Connections may still be closing; some files are opened once and stay open.
    until(lambda: descriptors(server.gateway_pid()) < before + 15, "the end of connections")
    processes = tree(launcher.pid)
    launcher.terminate()
    assert launcher.wait(30) == 0
    all_gone(processes, 2)
    nothing_left(run_folder(server.folder))
