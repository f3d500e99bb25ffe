"""Counters and histograms, as plain numbers that the event loop's thread adds to."""

import asyncio
import time
from bisect import bisect_left
from collections import Counter

SECONDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip
"""Upper bounds of the buckets."""
LAG_PERIOD = 0.25


class Histogram:
    """A histogram of seconds."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        self._counts[bisect_left(SECONDS, seconds)] += times
        self.sum += seconds * times

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many up to it)"""
        total, answer = 0, []
        for bound, count in zip((*SECONDS, float("inf")), self._counts, strict=True):
            total += count
            answer.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        return answer


class Metrics:
    """One per server. Other modules add to its attributes."""

    def __init__(self) -> None:
        self.first_token = Histogram()
        self.between_tokens = Histogram()
        self.duration = Histogram()
        self.queue = Histogram()
        self.cancel = Histogram()
        self.loop_lag = Histogram()
        self.ends: Counter[str] = Counter()
        """Generations, by how they ended."""
        self.restarts: Counter[str] = Counter()
        self.evicted: Counter[str] = Counter()
        """Sessions for which there was no room, by what they lost."""
        self.models_evicted: Counter[str] = Counter()
        """Models that workers gave up on purpose, by the reason: `another model`, `memory` or
        `idle`."""
        self.parked: Counter[str] = Counter()
        """Turns that ended for others, by the reason: `unread` or `turns`."""
        self.parked_now: Counter[str] = Counter()
        """Generations that wait for their client to read, in no worker, by whose they are."""
        self.chunks = 0
        self.merged = 0
        self.dropped = 0
        self.continued = 0
        self.quarantined = 0
        self.prompt_tokens = 0
        self.reused_tokens = 0
        self.generated_tokens = 0

    def worker_lost(self, how: str) -> None:
        """Count a worker that was lost and not asked to stop; `how` of link or post-mortem."""
        self.restarts[_reason(how)] += 1

    async def watch_loop(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        while True:
            due = time.monotonic() + LAG_PERIOD
            await asyncio.sleep(LAG_PERIOD)
            self.loop_lag.observe(max(0.0, time.monotonic() - due))


def _reason(how: str) -> str:
    """A label for the sentence, out of a small set."""
    if how.startswith("was killed by SIG"):
        return how.split()[3]
    if how.startswith("ended with exit code "):
        return "exit " + how.split()[4]
    beginnings = {
        "was silent": "silent",
        "made no progress": "hung",
        "was frozen": "frozen",
        "does not read": "deaf",
        "was dismissed": "key withdrawn",
    }
    return next((label for start, label in beginnings.items() if how.startswith(start)), "died")
