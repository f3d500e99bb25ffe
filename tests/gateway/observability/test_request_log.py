"""One line for each request: what it was, how it ended, how much it was; no texts of clients."""

import asyncio
import logging
from typing import Any

import pytest

from gateway.observability.request_log import RequestLog


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    [record] = caplog.records
    assert record.message == "request" and record.levelno == logging.INFO
    fields = dict(record.__dict__["fields"])
    assert fields.pop("seconds") >= 0
    return fields


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.observability.request_log")


def test_a_generation_has_its_ids_and_counts_and_not_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reply = {
        "text": "secret", "tokens": 3, "prompt_tokens": 5, "reused_tokens": 0, "reason": "stop",
        "id": "abc", "logprobs": [{}, {}, {}],
    }  # fmt: skip
    with RequestLog("generate_text", "sid", "alice") as log:
        log.selected("echo", "lorem")
        log.finish("done", reply, ours=("id", "code", "reason"))
    assert line(caplog) == {
        "event": "generate_text", "end": "done", "client": "sid", "holder": "alice",
        "binding": "echo", "model": "lorem", "id": "abc", "reason": "stop", "tokens": 3,
        "prompt_tokens": 5, "reused_tokens": 0, "characters": 6, "entries": 3,
    }  # fmt: skip


def test_texts_that_may_be_the_client_s_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with RequestLog("select_model", "sid", "") as log:
        log.finish("failed", {"success": False, "model_name": "canary", "error": "no canary"})
    assert line(caplog) == {"event": "select_model", "end": "failed", "client": "sid"}


def test_our_own_words_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    with RequestLog("generate_text", "sid", "") as log:
        log.finish("failed", {"code": "x" * 100, "id": ""}, ours=("id", "code"))
    assert line(caplog)["code"] == "x" * 64 and "id" not in caplog.records[0].__dict__["fields"]


@pytest.mark.parametrize(
    ("error", "end"), [(asyncio.CancelledError, "left"), (RuntimeError, "failed")]
)
def test_one_that_never_finishes_was_cancelled_or_failed(
    error: type[BaseException], end: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(error), RequestLog("embed", "sid", ""):
        raise error
    assert line(caplog) == {"event": "embed", "end": end, "client": "sid"}


@pytest.mark.parametrize(
    ("reply", "counts"),
    [
        ({"bindings": [1, 2, 3]}, {"entries": 3}),
        ({"tokens": [1, 2]}, {"entries": 2}),
        ({"tokens": True}, {}),
        ({"text": "é"}, {"characters": 1}),
        ({"text": None, "tokens": "7"}, {}),
    ],
)
def test_numbers_and_how_long_lists_and_texts_are(
    reply: dict[str, Any], counts: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with RequestLog("x", "sid", "") as log:
        log.finish("done", reply)
    assert line(caplog) == {"event": "x", "end": "done", "client": "sid", **counts}
