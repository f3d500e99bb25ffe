"""What does an operator read at /metrics, and how is it counted without slowing a token down?

Plain numbers are added up where things happen, by the event loop's thread only;
prometheus-client sees them when somebody asks.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip
"""Upper bounds of the buckets."""
LAG_PERIOD = 0.25


class Distribution:
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


@dataclass(slots=True)
class Now:
    """What is so at the moment somebody asks."""

    sessions: int = 0
    running: int = 0
    waiting: int = 0
    workers: Counter[str] | None = None
    """Up, by binding."""


class Metrics(Collector):
    """One a server. Whoever counts adds to its attributes."""

    def __init__(self, now: Callable[[], Now] = Now) -> None:
        self.now = now
        self.first_token = Distribution()
        self.between_tokens = Distribution()
        self.duration = Distribution()
        self.queue = Distribution()
        self.cancel = Distribution()
        self.loop_lag = Distribution()
        self.ends: Counter[str] = Counter()
        """Generations, by how they ended."""
        self.restarts: Counter[str] = Counter()
        self.chunks = 0
        self.merged = 0
        self.dropped = 0
        self.continued = 0
        self.poisonous = 0
        self.prompt_tokens = 0
        self.reused_tokens = 0
        self.generated_tokens = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def lost(self, how: str) -> None:
        """A worker that nobody had asked to go; `how` as `Link` and supervisor say it."""
        self.restarts[_reason(how)] += 1

    async def watch_loop(self) -> None:
        """How late is the event loop? Until it is cancelled."""
        while True:
            due = time.monotonic() + LAG_PERIOD
            await asyncio.sleep(LAG_PERIOD)
            self.loop_lag.observe(max(0.0, time.monotonic() - due))

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        now = self.now()
        yield _gauge("sessions", "clients connected", now.sessions)
        yield _gauge("requests_running", "generations that a worker has", now.running)
        yield _gauge("requests_waiting", "generations that wait for a worker", now.waiting)
        yield _labelled(
            GaugeMetricFamily("lollms_workers_up", "workers that answer", labels=["binding"]),
            now.workers or {},
        )
        yield _labelled(
            CounterMetricFamily("lollms_requests", "generations, by their end", labels=["end"]),
            self.ends,
        )
        restarts = "workers that ended unasked, and were started again by supervisor"
        yield _labelled(
            CounterMetricFamily("lollms_worker_restarts", restarts, labels=["reason"]),
            self.restarts,
        )
        for name, meaning, seconds in (
            ("time_to_first_token", "from the request to its first chunk", self.first_token),
            ("time_between_tokens", "from one token to the next", self.between_tokens),
            ("request_duration", "from the request to its end", self.duration),
            ("queue_time", "until a worker had room for a request", self.queue),
            ("cancel_latency", "from a cancel to the end of the computing", self.cancel),
            ("event_loop_lag", "how late the gateway's event loop was", self.loop_lag),
        ):
            yield HistogramMetricFamily(
                f"lollms_{name}_seconds", meaning, buckets=seconds.buckets(), sum_value=seconds.sum
            )
        for name, meaning, count in (
            ("chunks_sent", "text_chunk events written", self.chunks),
            ("chunks_merged", "chunks that left as part of another", self.merged),
            ("generations_continued", "that went on after their worker died", self.continued),
            ("poison_refused", "requests that workers had died of", self.poisonous),
            ("clients_dropped", "clients that did not read", self.dropped),
            ("prompt_tokens", "tokens of prompts", self.prompt_tokens),
            ("reused_tokens", "prompt tokens that need not be computed", self.reused_tokens),
            ("generated_tokens", "tokens that workers sent", self.generated_tokens),
        ):
            yield CounterMetricFamily(f"lollms_{name}", meaning, value=count)


def _gauge(name: str, meaning: str, value: int) -> Metric:
    return GaugeMetricFamily(f"lollms_{name}", meaning, value=value)


def _labelled(
    family: GaugeMetricFamily | CounterMetricFamily, counts: dict[str, int] | Counter[str]
) -> Metric:
    for label, count in sorted(counts.items()):
        family.add_metric([label], count)
    return family


def _reason(how: str) -> str:
    """A label out of the sentence: few different ones, whatever the sentence says."""
    if how.startswith("was killed by SIG"):
        return how.split()[3]
    if how.startswith("ended with exit code "):
        return "exit " + how.split()[4]
    beginnings = {
        "was silent": "silent",
        "made no progress": "hung",
        "was frozen": "frozen",
        "does not read": "deaf",
    }
    return next((label for start, label in beginnings.items() if how.startswith(start)), "died")
