"""Who talks to the server while it is disturbed, and did each get just what was theirs?

A user generates all the time and checks every event: one end for each request, chunks
that joined are the text of the end, nothing with an id that is not of this request, and a
text that is the one of an undisturbed run. Times are those of `time.monotonic`.
"""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import socketio

ENDS = {"text_generated", "generation_error", "buzzy"}
_NUMBERS = itertools.count()
PATIENCE = 60.0
"""Seconds until a request without an end counts as never answered."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked, always the same way."""

    binding: str
    model: str
    prompt: str
    tokens: int
    seed: int

    def request(self) -> dict[str, Any]:
        """Not the same as any other: whoever loses two workers in a row is not refused."""
        unlike = f"unlike {next(_NUMBERS)}"
        return {
            "prompt": self.prompt,
            "personality": -1,
            "n_predicts": self.tokens,
            "parameters": {"seed": self.seed, "temperature": 0.5, "stop": [unlike]},
        }


@dataclass(slots=True)
class Run:
    """One request, as its user saw it."""

    task: Task
    asked: float = field(default_factory=time.monotonic)
    times: list[float] = field(default_factory=list)
    """Of its chunks."""
    text: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    ends: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)


class Oracle:
    """Judges runs; `expected` is learnt while nothing is disturbed."""

    def __init__(self) -> None:
        self.expected: dict[Task, str] = {}
        self.counts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.runs: list[Run] = []
        self._owner: dict[str, Run] = {}

    def judge(self, run: Run) -> None:
        self.runs.append(run)
        if len(run.ends) != 1:
            return self._fault("never answered" if not run.ends else "more than one end", run)
        _, name, end = run.ends[0]
        self.counts[name] += 1
        for id in run.ids | {str(end.get("id"))}:
            if self._owner.setdefault(id, run) is not run:
                self._fault("chunks of another", run)
        if len(run.ids) > 1:
            self._fault("chunks of another", run)
        joined, whole = "".join(run.text), self.expected.get(run.task)
        if name == "text_generated" and joined != end["text"]:
            self._fault("chunks doubled" if len(joined) > len(end["text"]) else "chunks lost", run)
        if whole is None:
            return None
        if name == "text_generated" and joined != whole:
            self._fault("another text", run)
        if name == "generation_error" and not whole.startswith(joined):
            self._fault("another text", run)
        return None

    def _fault(self, what: str, run: Run) -> None:
        self.wrong[what] += 1
        if len(self.examples) < 5:
            self.examples.append(f"{what}: {run.task} got {''.join(run.text)[:200]!r} {run.ends}")


class User:
    """One client with a selection of its own. `work` goes on until `leave`."""

    def __init__(self, port: int, oracle: Oracle, tasks: list[Task], seed: str) -> None:
        self.run: Run | None = None
        self._port = port
        self._oracle = oracle
        self._tasks = tasks
        self._draw = Random(seed)
        self._sio = socketio.AsyncClient(reconnection=False)
        self._sio.on("text_chunk", self._chunk)
        self._news = asyncio.Event()
        self._reply: dict[str, Any] = {}
        for name in ENDS:
            self._sio.on(name, lambda data, name=name: self._end(name, data))
        for name in ("select_binding", "select_model"):
            self._sio.on(name, self._selected)
        self.leaving = False

    async def come(self) -> None:
        """Connect, and select what its first task wants."""
        await self._sio.connect(f"http://127.0.0.1:{self._port}", transports=["websocket"])
        task = self._tasks[0]
        for event, data in (
            ("select_binding", {"binding_name": task.binding}),
            ("select_model", {"model_name": task.model}),
        ):
            self._news.clear()
            await self._sio.emit(event, data)
            async with asyncio.timeout(PATIENCE):
                await self._news.wait()
            if not self._reply.get("success"):
                raise SystemExit(f"{event} failed: {self._reply}")

    async def ask(self, task: Task) -> Run:
        """One request to its end, or until patience is over."""
        self._news.clear()
        run = self.run = Run(task)
        await self._sio.emit("generate_text", task.request())
        try:
            async with asyncio.timeout(PATIENCE):
                await self._news.wait()
        except TimeoutError:
            pass
        return run

    async def work(self) -> None:
        """Ask again and again; a little rest after what was refused."""
        while not self.leaving:
            run = await self.ask(self._draw.choice(self._tasks))
            self._oracle.judge(run)
            if not run.times:
                await asyncio.sleep(0.05)

    async def leave(self) -> None:
        await self._sio.disconnect()

    async def emit(self, event: str, data: Any = None) -> None:
        await self._sio.emit(event, data)

    def _chunk(self, data: dict[str, Any]) -> None:
        if self.run and not self.run.ends:
            self.run.times.append(time.monotonic())
            self.run.text.append(data["chunk"])
            self.run.ids.add(data["id"])

    def _end(self, name: str, data: dict[str, Any]) -> None:
        if self.run:
            self.run.ends.append((time.monotonic(), name, data))
            self._news.set()

    def _selected(self, data: dict[str, Any]) -> None:
        self._reply = data
        self._news.set()
