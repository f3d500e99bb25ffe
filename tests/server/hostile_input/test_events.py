"""Every event with any payload gets one reply; an error is one sentence."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cases import CASES, FAILURES, FIELDS, REPLIES, Case
from tests.support.engineio_lines import EngineIoConnection, engineio_connection
from tests.support.harness import Event, Home, run

SOON = 0.25
"""Seconds, the promised time of an answer; on a busy machine a few may take longer."""
SENTENCE = 400
AT_ONCE = 12_000_000
"""Bytes; the limit of the rate is 16 MB at once with messages of up to 4 MB."""


def is_sentence(error: Any, folder: str) -> bool:
    return (
        isinstance(error, str)
        and 0 < len(error) < SENTENCE
        and "\n" not in error.removeprefix("Couldn't load binding:\n")
        and "Traceback" not in error
        and folder not in error
        and not any(ord(c) < 32 for c in error.replace("\n", ""))
    )


def problem_with(case: Case, events: list[Event], ack: Any, folder: str) -> str:
    """Describe what is wrong with the answer; "" if it is right."""
    told = [name for name, _ in events if name != "text_chunk"]
    data = events[-1][1] if events else None
    failed = bool(data) and ("error" in data or data.get("success") is False)
    if not events:
        return "silence"
    if ack != data:
        return f"another acknowledgement: {ack}"
    if case.fine is not None and failed is case.fine:
        return f"failed: {failed}, {data}"
    if not failed:
        return "" if told == [REPLIES[case.event]] else f"other events: {told}"
    if told != case.expected:
        return f"other events: {told}"
    if not is_sentence(data["error"], folder):
        return f"no sentence: {data['error']!r}"
    if any(other["error"] != data["error"] for _, other in events):
        return "two sentences"
    return "" if case.about in data["error"] else f"{case.about} not in {data['error']!r}"


def shares(cases: list[Case]) -> list[list[Case]]:
    """For one client each, which may not send more bytes at once: 2 MB are in many of them."""
    made: list[list[Case]] = [[]]
    size = 0
    for case in cases:
        size += len(case.payload)
        if size > AT_ONCE:
            made.append([])
            size = len(case.payload)
        made[-1].append(case)
    return made


@pytest.mark.timeout(300)
def test_every_event_with_every_bad_value(server: Home, block: Callable[..., Any]) -> None:
    wrong, slow = [], []
    counts: Counter[str] = Counter(cases=len(CASES))

    async def one_client(cases: list[Case]) -> None:
        async with engineio_connection(server) as connected:
            for case in cases:
                event = json.loads(f'"{case.event}"')
                events, ack, took = await connected.ask(
                    event, case.payload, attachment=case.attachment
                )
                if problem := problem_with(case, events, ack, str(server.folder)):
                    wrong.append((case.event[:40], case.what, problem))
                counts["as promised"] += not problem
                if took > SOON:
                    slow.append((case.event[:40], case.what, took))

    async def scenario() -> None:
        for cases in shares(CASES):
            await one_client(cases)

    counts["as promised"] = 0
    with block("every event with every bad value", counts):
        run(scenario(), 200)
        counts["late"] = len(slow)
        assert not wrong, "\n".join(map(str, wrong))
        assert len(slow) < len(CASES) // 20, slow


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50)
    | st.sampled_from(["..", "echo", "lorem", "english/a/b", "-1", "0", "", "a"]),
    lambda inner: st.lists(inner, max_size=5)
    | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
KEYS = sorted({field for _, field in FIELDS})
SMALL = {"n_predicts": 2}
PAYLOAD = JSON | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6)
EVENT = st.sampled_from(sorted(REPLIES)) | st.text(max_size=20)


@pytest.mark.timeout(300)
def test_two_thousand_random_payloads(server: Home, block: Callable[..., Any]) -> None:
    counts: Counter[str] = Counter()
    with asyncio.Runner() as runner:
        context = engineio_connection(server)
        connected: EngineIoConnection = runner.run(context.__aenter__())

        @settings(
            max_examples=2000, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(EVENT, PAYLOAD)
        def one(event: str, payload: Any) -> None:
            if event == "generate_text" and isinstance(payload, dict):
                payload = {**payload, **SMALL}
            asked = connected.ask(event, json.dumps(payload))
            events, ack, _ = runner.run(asyncio.wait_for(asked, 20))
            told = [name for name, _ in events if name != "text_chunk"]
            right = ([REPLIES[event]], FAILURES[event]) if event in REPLIES else (["error"],)
            assert told in right and events[-1][1] == ack
            if "error" in ack:
                assert is_sentence(ack["error"], str(server.folder))
            counts["failures" if "error" in ack else "successes"] += 1

        try:
            with block("2,000 random payloads", counts, changes=True):
                one()
                assert counts.total() >= 2000
        finally:
            runner.run(context.__aexit__(None, None, None))
