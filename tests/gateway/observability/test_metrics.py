"""What /metrics says, as Prometheus would read it."""

from collections import Counter
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.observability.metrics import SECONDS, Histogram, Metrics
from gateway.observability.prometheus import BY_HOLDER, BY_MODEL, Exporter, Gauges

HISTOGRAMS = (
    "time_to_first_token", "time_between_tokens", "request_duration", "queue_time",
    "cancel_latency", "event_loop_lag",
)  # fmt: skip
COUNTERS = (
    "chunks_sent", "chunks_merged", "clients_dropped", "prompt_tokens", "reused_tokens",
    "generated_tokens", "affinity_hits", "models_evicted", "generations_parked",
)  # fmt: skip


def read(metrics: Metrics, gauges: Gauges | None = None) -> dict[str, Any]:
    text = Exporter(metrics, lambda: gauges or Gauges()).text().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(metrics: Metrics, name: str, gauges: Gauges | None = None, **labels: str) -> float:
    for family in read(metrics, gauges).values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    raise AssertionError(f"no {name} with {labels}")


def test_everything_is_there_before_anything_happened() -> None:
    families = read(Metrics())
    for name in HISTOGRAMS:
        assert families[f"lollms_{name}_seconds"].type == "histogram"
    for name in COUNTERS:
        assert families[f"lollms_{name}"].type == "counter"
    for name in (
        "sessions", "requests_running", "requests_waiting", "requests_parked", "workers_up",
        "owners", *BY_MODEL, *BY_HOLDER,
    ):  # fmt: skip
        assert families[f"lollms_{name}"].type == "gauge"
    assert all(family.documentation for family in families.values())


def test_buckets_reach_from_a_millisecond_to_two_minutes() -> None:
    assert SECONDS[0] == 0.001 and SECONDS[-1] == 120 and list(SECONDS) == sorted(SECONDS)


def test_a_value_on_a_bound_is_within_it_and_one_beyond_all_is_counted() -> None:
    seconds = Histogram()
    seconds.observe(0.001)
    seconds.observe(0.0011, times=3)
    seconds.observe(1000)
    buckets = dict(seconds.buckets())
    assert (buckets["0.001"], buckets["0.002"], buckets["120.0"], buckets["+Inf"]) == (1, 4, 4, 5)
    assert seconds.sum == pytest.approx(1000.0043)


def test_what_is_counted_is_read() -> None:
    metrics = Metrics()
    now = Gauges(sessions=7, running=3, waiting=2, workers=Counter(echo=2))
    metrics.first_token.observe(0.25)
    metrics.ends["finished"] += 2
    metrics.chunks += 5
    assert value(metrics, "lollms_sessions", now) == 7
    assert value(metrics, "lollms_requests_running", now) == 3
    assert value(metrics, "lollms_requests_waiting", now) == 2
    assert value(metrics, "lollms_workers_up", now, binding="echo") == 2
    assert value(metrics, "lollms_requests_total", end="finished") == 2
    assert value(metrics, "lollms_chunks_sent_total") == 5
    assert value(metrics, "lollms_time_to_first_token_seconds_count") == 1
    assert value(metrics, "lollms_time_to_first_token_seconds_bucket", le="0.2") == 0
    assert value(metrics, "lollms_time_to_first_token_seconds_bucket", le="0.5") == 1


def test_values_of_models_and_holders_have_their_labels() -> None:
    metrics = Metrics()
    metrics.models_evicted["memory"] += 1
    now = Gauges(
        parked=2, owners=3, affinity_hits=4,
        by_model={"slots": Counter({("echo", 'a "model"'): 8}), "replicas": Counter()},
        by_holder={"holder_waiting": Counter({("alice",): 5})},
    )  # fmt: skip
    assert value(metrics, "lollms_slots", now, binding="echo", model='a "model"') == 8
    assert value(metrics, "lollms_holder_waiting", now, holder="alice") == 5
    assert value(metrics, "lollms_requests_parked", now) == 2
    assert value(metrics, "lollms_owners", now) == 3
    assert value(metrics, "lollms_affinity_hits_total", now) == 4
    assert value(metrics, "lollms_models_evicted_total", reason="memory") == 1
    assert read(metrics, now)["lollms_replicas"].samples == []


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("was killed by SIGSEGV", "SIGSEGV"),
        ("ended with exit code 3", "exit 3"),
        ("was silent for 3 heartbeats and was ended", "silent"),
        ("made no progress for 61 s and was ended", "hung"),
        ("does not read its messages any more", "deaf"),
        ("was dismissed: its key was withdrawn", "key withdrawn"),
        ("died", "died"),
        ("started over", "died"),
    ],
)
def test_why_a_worker_was_lost_becomes_one_of_few_labels(how: str, reason: str) -> None:
    metrics = Metrics()
    metrics.worker_lost(how)
    assert value(metrics, "lollms_worker_restarts_total", reason=reason) == 1
