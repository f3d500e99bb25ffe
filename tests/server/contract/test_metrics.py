"""GET /metrics counts what clients and workers did."""

import re

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import Home, client, run, until


def metric(server: Home, name: str) -> float:
    status, text = server.http("/metrics")
    assert status == 200, text
    found = re.search(rf"^{re.escape('lollms_' + name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


COUNTED = (
    'requests_total{end="finished"}', 'requests_total{end="cancelled"}',
    "time_to_first_token_seconds_count", "time_between_tokens_seconds_count",
    "request_duration_seconds_count", "queue_time_seconds_count", "cancel_latency_seconds_count",
    "chunks_sent_total", "chunks_merged_total", "generated_tokens_total",
)  # fmt: skip


def test_a_generation_and_a_cancel_are_counted(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            ends_once(await connected.generate("x", n_predicts=100))
            await select(connected, "echo", "lorem-10ms")
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 1000})
            await connected.next("text_chunk")
            assert metric(server, "requests_running") == 1
            await connected.emit("cancel_generation")
            await connected.next("text_generated")
            while not metric(server, "cancel_latency_seconds_count") - before[6]:
                await connected.settle()
            await select(connected, "echo", "lorem")
            assert metric(server, "sessions") == 1

    # /ready needs only one of the two workers; the other may still be starting.
    until(lambda: metric(server, 'workers_up{binding="echo"}') == 2, "the start of both workers")
    before = [metric(server, name) for name in COUNTED]
    run(scenario())
    finished, cancelled, first, between, duration, queue, cancel, sent, merged, tokens = (
        metric(server, name) - was for name, was in zip(COUNTED, before, strict=True)
    )
    assert (finished, cancelled, first, duration, queue, cancel) == (1, 1, 2, 2, 2, 1)
    # The first token of each generation ends no interval.
    assert tokens >= 101 and between == tokens - 2
    assert 2 <= sent + merged <= tokens
    assert metric(server, 'workers_up{binding="echo"}') == 2
    # The first measurement is due 0.25 s after the gateway's start.
    until(lambda: metric(server, "event_loop_lag_seconds_count") > 0, "a measurement of the lag")
