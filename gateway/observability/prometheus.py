"""The Prometheus exporter: counters and gauges as GET /metrics shows them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.observability.background_log import dropped_lines
from gateway.observability.metrics import Metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST


@dataclass(slots=True)
class Gauges:
    """Values of this moment."""

    sessions: int = 0
    running: int = 0
    waiting: int = 0
    away: int = 0
    away_bytes: int = 0
    workers: Counter[str] = field(default_factory=Counter)
    """Up, by binding."""


class Exporter(Collector):
    def __init__(self, metrics: Metrics, gauges: Callable[[], Gauges]) -> None:
        """`gauges` is called at each scrape."""
        self._metrics = metrics
        self._gauges = gauges
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """The body of GET /metrics."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        now, counted = self._gauges(), self._metrics
        yield _gauge("sessions", "clients connected", now.sessions)
        yield _gauge("requests_running", "generations that a worker has", now.running)
        yield _gauge("requests_waiting", "generations that wait for a worker", now.waiting)
        yield _gauge("sessions_away", "sessions that are kept without a client", now.away)
        yield _gauge("away_bytes", "of what is kept for these", now.away_bytes)
        evicted = "sessions that lost what was kept, for want of room, by what it was"
        yield _labelled(
            CounterMetricFamily("lollms_sessions_evicted", evicted, labels=["reason"]),
            counted.evicted,
        )
        yield _labelled(
            GaugeMetricFamily("lollms_workers_up", "workers that answer", labels=["binding"]),
            now.workers,
        )
        yield _labelled(
            CounterMetricFamily("lollms_requests", "generations, by their end", labels=["end"]),
            counted.ends,
        )
        parked = "turns that a generation ended for others, by the reason; it continued later"
        yield _labelled(
            CounterMetricFamily("lollms_generations_parked", parked, labels=["reason"]),
            counted.parked,
        )
        restarts = "workers that ended unasked, and were started again by supervisor"
        yield _labelled(
            CounterMetricFamily("lollms_worker_restarts", restarts, labels=["reason"]),
            counted.restarts,
        )
        for name, meaning, seconds in (
            ("time_to_first_token", "from the request to its first chunk", counted.first_token),
            ("time_between_tokens", "from one token to the next", counted.between_tokens),
            ("request_duration", "from the request to its end", counted.duration),
            ("queue_time", "until a worker had room for a request", counted.queue),
            ("cancel_latency", "from a cancel to the end of the computing", counted.cancel),
            ("event_loop_lag", "how late the gateway's event loop was", counted.loop_lag),
        ):
            yield HistogramMetricFamily(
                f"lollms_{name}_seconds", meaning, buckets=seconds.buckets(), sum_value=seconds.sum
            )
        for name, meaning, count in (
            ("chunks_sent", "text_chunk events written", counted.chunks),
            ("chunks_merged", "chunks that left as part of another", counted.merged),
            ("generations_continued", "that went on after their worker died", counted.continued),
            ("poison_refused", "requests that workers had died of", counted.quarantined),
            ("clients_dropped", "clients that did not read", counted.dropped),
            ("prompt_tokens", "tokens of prompts", counted.prompt_tokens),
            ("reused_tokens", "prompt tokens that need not be computed", counted.reused_tokens),
            ("generated_tokens", "tokens that workers sent", counted.generated_tokens),
            ("log_lines_dropped", "log lines that nobody read in time", dropped_lines()),
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
