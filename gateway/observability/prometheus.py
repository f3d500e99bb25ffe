"""The Prometheus exporter: counters and gauges as GET /metrics shows them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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

Labels = tuple[str, ...]
"""The values of the labels, in their order."""


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
    parked: int = 0
    owners: int = 0
    affinity_hits: int = 0
    by_model: Mapping[str, Counter[Labels]] = field(default_factory=dict)
    """For each name in BY_MODEL the values of the models."""
    by_holder: Mapping[str, Counter[Labels]] = field(default_factory=dict)
    """For each name in BY_HOLDER the values of the tokens' holders."""


BY_MODEL = {
    "slots": "generations that the workers of a model can run at the same time",
    "slots_used": "of these, those in use",
    "model_waiting": "generations that wait for a slot",
    "replicas": "workers that hold the model",
    "replicas_surplus": "of these, those that can be spared",
    "models_loading": "workers that load the model",
}
BY_HOLDER = {
    "holder_running": "generations that a worker has, by the holder of the token",
    "holder_waiting": "generations that wait for a slot, by the holder of the token",
    "holder_parked": "generations that wait for their client to read, by the holder of the token",
}


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
        yield _gauge("requests_parked", "generations whose clients do not read", now.parked)
        yield _gauge("owners", "holders of tokens, or addresses, that have generations", now.owners)
        for name, meaning in BY_MODEL.items():
            yield _by(name, meaning, ["binding", "model"], now.by_model.get(name, Counter()))
        for name, meaning in BY_HOLDER.items():
            yield _by(name, meaning, ["holder"], now.by_holder.get(name, Counter()))
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
        unloaded = "models that were unloaded on purpose, by the reason"
        yield _labelled(
            CounterMetricFamily("lollms_models_evicted", unloaded, labels=["reason"]),
            counted.models_evicted,
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
            ("affinity_hits", "that went where their beginning is held", now.affinity_hits),
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


def _by(name: str, meaning: str, labels: Sequence[str], values: Mapping[Labels, int]) -> Metric:
    family = GaugeMetricFamily(f"lollms_{name}", meaning, labels=labels)
    for each, value in sorted(values.items()):
        family.add_metric(each, value)
    return family


def _labelled(
    family: GaugeMetricFamily | CounterMetricFamily, counts: dict[str, int] | Counter[str]
) -> Metric:
    for label, count in sorted(counts.items()):
        family.add_metric([label], count)
    return family
