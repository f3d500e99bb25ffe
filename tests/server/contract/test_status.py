"""GET /status describes the state of workers and never reports a broken one as healthy."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import Home, client, home, run, until


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("supervised")
    with home(
        folder, bindings_path=str(bindings), binding_name="echo", model_name="lorem-10ms",
        stall_limit="3",
    ) as server:  # fmt: skip
        server.launch()
        yield server


def status(server: Home) -> dict[str, Any]:
    code, body = server.http("/status")
    assert code == 200, body
    answer: dict[str, Any] = json.loads(body)
    return answer


def metrics(server: Home) -> str:
    return server.http("/metrics")[1]


def test_it_says_who_works_on_what(supervised: Home) -> None:
    async def scenario() -> None:
        async with client(supervised) as connected:
            before = await asyncio.to_thread(status, supervised)
            [worker] = before["workers"]
            assert worker["state"] == "idle" and worker["model"] == "lorem-10ms"
            assert worker["sandbox"]["privileges"]
            assert worker["pid"] in supervised.worker_pids()
            assert before["ready"] and not before["reason"] and before["clients"] == 1
            assert before["selected"] == {"binding": "echo", "model": "lorem-10ms"}
            assert before["pid"] == supervised.gateway_pid() and before["uptime"] > 0
            running = [p for p in before["programs"] if p["pid"]]
            assert all(p["since"] < 1e6 for p in before["programs"]), "some never started"
            assert [(p["binding"], p["pid"]) for p in running] == [("echo", worker["pid"])]

            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 5000})
            await connected.next("text_chunk")
            during = await asyncio.to_thread(status, supervised)
            [worker] = during["workers"]
            assert (worker["state"], worker["running"]) == ("busy", 1)
            queue = during["queue"]
            assert (queue["running"], queue["waiting"], queue["parked"]) == (1, 0, 0)
            assert (queue["max_waiting"], queue["max_queue"]) == (1000, 16)
            assert during["slots"] == {"total": worker["slots"], "used": 1}
            assert during["models"] == [{
                "binding": "echo", "model": "lorem-10ms", "workers": [worker["name"]],
                "surplus": [], "slots": worker["slots"], "used": 1, "loading": 0, "waiting": 0,
            }]  # fmt: skip
            assert during["holders"] == {} and during["loads"] == during["asleep"] == []
            assert during["addresses"] == {"count": 1, "running": 1, "waiting": 0, "parked": 0}
            texts = [json.dumps(during), await asyncio.to_thread(metrics, supervised)]
            assert not any("127.0.0.1" in text for text in texts), "whose it is, is not told"
            await connected.emit("cancel_generation")
            await connected.next("text_generated")

    run(scenario())


def test_a_frozen_worker_is_never_said_to_be_well(supervised: Home) -> None:
    async def scenario() -> float:
        async with client(supervised) as connected:
            await connected.emit("generate_text", {"prompt": "x", "n_predicts": 5000})
            await connected.next("text_chunk")
            [pid] = [worker["pid"] for worker in status(supervised)["workers"]]
            supervised.kill(pid, signal.SIGSTOP)
            frozen = time.monotonic()
            while True:
                now = await asyncio.to_thread(status, supervised)
                states = [w["state"] for w in now["workers"] if w["pid"] == pid]
                assert states in (["frozen"], []), states
                if not states:
                    break
            took = time.monotonic() - frozen
            await connected.emit("cancel_generation")
            await connected.until("text_generated", "generation_error")
            return took

    restarts = status(supervised)["restarts"].get("frozen", 0)
    took = run(scenario())
    print(f"given up after {took:.2f} s")
    assert took < 5
    until(lambda: supervised.http("/ready")[0] == 200, "the next worker")
    assert status(supervised)["restarts"]["frozen"] == restarts + 1


def test_ready_is_not_said_of_a_worker_that_does_not_answer(tmp_path: Path, bindings: Path) -> None:
    with home(
        tmp_path, bindings_path=str(bindings), binding_name="echo", model_name="lorem"
    ) as server:
        server.gateway()
        worker = server.worker("echo")
        server.ready()
        assert status(server)["programs"] is None  # there is no supervisor
        os.kill(worker.pid, signal.SIGSTOP)
        until(lambda: server.http("/ready")[0] == 503, "503 of /ready")
        until(lambda: not status(server)["workers"], "the end of the worker")


def test_what_cannot_start_and_what_is_refused_are_in_it(supervised: Home) -> None:
    async def scenario() -> None:
        async with client(supervised) as connected:
            await select(connected, "stubborn", "any")
            for _ in range(3):
                ends_once(await connected.generate("segfault"))
            answer = await connected.ask(
                "select_model", {"model_name": "deadly"}, reply="select_model"
            )
            assert not answer["success"]

    run(scenario())
    now = status(supervised)
    [suspect] = now["poison"]
    assert suspect["binding"] == "stubborn" and suspect["deaths"] == 2
    assert "SIGSEGV" in suspect["how"]
    [circuit] = now["circuits"]
    assert (circuit["binding"], circuit["model"]) == ("stubborn", "deadly")
    assert "SIGABRT" in circuit["error"]
