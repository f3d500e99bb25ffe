"""Simulated users, and the oracle that checks every answer they get.

A user generates continuously. The oracle checks that each request ends once, that its
chunks joined are the text of the end, that no id belongs to another request, and that
the text equals that of an undisturbed run. Times are those of `time.monotonic`.
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
"""Seconds after which a request counts as one without an end."""


@dataclass(frozen=True, slots=True)
class Task:
    """A request with a reproducible answer."""

    binding: str
    model: str
    prompt: str
    tokens: int
    seed: int

    def request(self) -> dict[str, Any]:
        """Unique, so that the quarantine does not refuse a task that lost two workers in a row."""
        unique = f"unique {next(_NUMBERS)}"
        return {
            "prompt": self.prompt,
            "personality": -1,
            "n_predicts": self.tokens,
            "parameters": {"seed": self.seed, "temperature": 0.5, "stop": [unique]},
        }


@dataclass(slots=True)
class Run:
    """One request as its user saw it."""

    task: Task
    sent: float = field(default_factory=time.monotonic)
    times: list[float] = field(default_factory=list)
    """When its chunks arrived."""
    text: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    ends: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)


class Oracle:
    """Checks runs against `expected`, the texts of an undisturbed run."""

    def __init__(self) -> None:
        self.expected: dict[Task, str] = {}
        self.counts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.runs: list[Run] = []
        self._owner: dict[str, Run] = {}

    def judge(self, run: Run) -> None:
        self.runs.append(run)
        if not run.ends:
            return self._count("requests without an end", run)
        if len(run.ends) > 1:
            return self._count("requests with more than one end", run)
        _, name, end = run.ends[0]
        self.counts[name] += 1
        for id in run.ids | {str(end.get("id"))}:
            if self._owner.setdefault(id, run) is not run:
                self._count("chunks of another request", run)
        if len(run.ids) > 1:
            self._count("chunks of another request", run)
        joined, whole = "".join(run.text), self.expected.get(run.task)
        if name == "text_generated" and joined != end["text"]:
            longer = len(joined) > len(end["text"])
            self._count("chunks duplicated" if longer else "chunks lost", run)
        if whole is None:
            return None
        if name == "text_generated" and joined != whole:
            self._count("texts that differ from an undisturbed run", run)
        if name == "generation_error" and not whole.startswith(joined):
            self._count("texts that differ from an undisturbed run", run)
        return None

    def _count(self, what: str, run: Run) -> None:
        self.wrong[what] += 1
        if len(self.examples) < 5:
            self.examples.append(f"{what}: {run.task} got {''.join(run.text)[:200]!r} {run.ends}")


class User:
    """One client with its own selection. `work` runs until `stopping` is set."""

    def __init__(self, port: int, oracle: Oracle, tasks: list[Task], seed: str) -> None:
        self.run: Run | None = None
        self._port = port
        self._oracle = oracle
        self._tasks = tasks
        self._random = Random(seed)
        self._sio = socketio.AsyncClient(reconnection=False)
        self._sio.on("text_chunk", self._chunk)
        self._received = asyncio.Event()
        self._reply: dict[str, Any] = {}
        for name in ENDS:
            self._sio.on(name, lambda data, name=name: self._end(name, data))
        for name in ("select_binding", "select_model"):
            self._sio.on(name, self._selected)
        self.stopping = False

    async def connect(self) -> None:
        """Connect, and select binding and model of the first task."""
        await self._sio.connect(f"http://127.0.0.1:{self._port}", transports=["websocket"])
        task = self._tasks[0]
        for event, data in (
            ("select_binding", {"binding_name": task.binding}),
            ("select_model", {"model_name": task.model}),
        ):
            self._received.clear()
            await self._sio.emit(event, data)
            async with asyncio.timeout(PATIENCE):
                await self._received.wait()
            if not self._reply.get("success"):
                raise SystemExit(f"{event} failed: {self._reply}")

    async def generate(self, task: Task) -> Run:
        """Send one request and wait for its end, at most `PATIENCE` seconds."""
        self._received.clear()
        run = self.run = Run(task)
        await self._sio.emit("generate_text", task.request())
        try:
            async with asyncio.timeout(PATIENCE):
                await self._received.wait()
        except TimeoutError:
            pass
        return run

    async def work(self) -> None:
        """Generate continuously, with a short pause after a request that was refused."""
        while not self.stopping:
            run = await self.generate(self._random.choice(self._tasks))
            self._oracle.judge(run)
            if not run.times:
                await asyncio.sleep(0.05)

    async def disconnect(self) -> None:
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
            self._received.set()

    def _selected(self, data: dict[str, Any]) -> None:
        self._reply = data
        self._received.set()
