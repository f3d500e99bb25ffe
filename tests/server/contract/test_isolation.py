"""Gateway and sessions survive any crash of a binding, and supervisor restarts its worker."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import Event, Home, chunks, client, home, names, run, until

DEATHS = {
    "segfault": "SIGSEGV",
    "exit 3": "exit code 3",
    "sysexit 4": "exit code 4",
    "kill": "SIGKILL",
}


STALL_LIMIT = 2.0


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    """A complete server, started as `make run` does."""
    folder = tmp_path_factory.mktemp("supervised")
    with home(
        folder, bindings_path=str(bindings), binding_name="stubborn", model_name="any",
        stall_limit=str(STALL_LIMIT),
    ) as server:  # fmt: skip
        server.launch()
        yield server


async def ask(server: Home, prompt: str, **fields: Any) -> list[Event]:
    async with client(server) as connected:
        await select(connected, "stubborn", "any")
        events = await connected.generate(prompt, **fields)
        return events + await connected.settle()


@pytest.mark.parametrize(("fault", "how"), DEATHS.items())
def test_a_death_is_told_with_its_cause_and_the_next_request_is_served(
    supervised: Home, fault: str, how: str
) -> None:
    pid = supervised.gateway_pid()
    events = run(ask(supervised, fault))
    assert names(events)[-1] == "generation_error"
    error = ends_once(events)["error"]
    assert "stubborn" in error and how in error, error
    assert "word0 word1 word2 ".startswith(chunks(events))  # the last may be lost with it
    fine = run(ask(supervised, "fine"))
    assert ends_once(fine)["text"] == "word0 word1 word2 "
    assert supervised.gateway_pid() == pid


@pytest.mark.parametrize("fault", ["loop", "hang"])
def test_a_worker_that_hangs_is_ended_and_replaced(supervised: Home, fault: str) -> None:
    error = ends_once(run(ask(supervised, fault)))["error"]
    assert "stubborn" in error and "no progress" in error
    assert ends_once(run(ask(supervised, "fine")))["tokens"] == 3


def test_a_frozen_worker_is_ended_and_replaced(supervised: Home) -> None:
    async def scenario() -> str:
        async with client(supervised) as connected:
            await select(connected, "stubborn", "any")
            await connected.emit("generate_text", {"prompt": "slow", "n_predicts": 5000})
            await connected.next("text_chunk")
            supervised.kill(supervised.supervised_pids()["stubborn_00"], signal.SIGSTOP)
            return str((await connected.reply("generation_error"))["error"])

    assert "was ended" in run(scenario())
    assert ends_once(run(ask(supervised, "fine")))["tokens"] == 3


def test_a_slow_but_honest_generation_outlives_the_stall_limit(supervised: Home) -> None:
    words = int(STALL_LIMIT * 2 / 0.01)
    assert ends_once(run(ask(supervised, "slow", n_predicts=words)))["tokens"] == words


def test_an_idle_worker_is_stopped_and_started_when_it_is_needed(
    tmp_path: Path, bindings: Path
) -> None:
    with home(
        tmp_path, bindings_path=str(bindings), binding_name="echo", model_name="lorem",
        keep_alive="1",
    ) as server:  # fmt: skip
        server.launch()
        until(lambda: not server.worker_pids(), "the stop of the idle worker")
        assert server.http("/ready")[0] == 200

        async def scenario() -> Any:
            async with client(server) as connected:
                return ends_once(await connected.generate("x", n_predicts=4))

        assert run(scenario())["tokens"] == 4


def test_an_idle_worker_that_nobody_supervises_stays(tmp_path: Path, bindings: Path) -> None:
    with home(
        tmp_path, bindings_path=str(bindings), binding_name="echo", model_name="lorem",
        keep_alive="0.1",
    ) as server:  # fmt: skip
        server.gateway()
        server.worker("echo")
        server.ready()

        async def scenario() -> None:
            async with client(server) as connected:
                for _ in range(3):
                    await asyncio.sleep(1.1)  # longer than a heartbeat, which checks idle workers
                    assert ends_once(await connected.generate("x", n_predicts=4))["tokens"] == 4

        run(scenario())


def test_a_client_is_told_soon_after_the_death(supervised: Home) -> None:
    async def scenario() -> float:
        async with client(supervised) as connected:
            await select(connected, "stubborn", "any")
            await connected.emit("generate_text", {"prompt": "slow", "n_predicts": 5000})
            await connected.next("text_chunk")
            pid = supervised.supervised_pids()["stubborn_00"]
            killed = time.perf_counter()
            supervised.kill(pid, signal.SIGKILL)
            await connected.next("generation_error")
            return time.perf_counter() - killed

    took = run(scenario())
    print(f"told after {took * 1000:.0f} ms")
    assert took < 1.0


def test_a_session_lives_through_the_death_of_its_worker(supervised: Home) -> None:
    async def scenario() -> None:
        async with client(supervised) as one, client(supervised) as two:
            await select(two, "echo", "lorem-10ms")
            await select(one, "stubborn", "any")
            await two.emit("generate_text", {"prompt": "x", "n_predicts": 100})
            first = await two.next("text_chunk")
            failed = await one.generate("segfault")
            assert names(failed)[-1] == "generation_error"
            served = await one.generate("fine")
            assert ends_once(served)["tokens"] == 3
            end = ends_once([first, *await two.until("text_generated")])
            assert len(end["text"].split()) == 100

    run(scenario())


def test_a_worker_that_dies_before_the_first_chunk_is_retried_unseen(supervised: Home) -> None:
    marker = supervised.folder / "tmp" / "stubborn" / "died"  # it may write only there
    events = run(ask(supervised, f"first {marker}"))
    assert marker.exists()
    assert ends_once(events)["text"] == "word0 word1 word2 "


def test_a_binding_that_raises_fails_that_request_only(supervised: Home) -> None:
    async def scenario() -> None:
        async with client(supervised) as one, client(supervised) as two:
            for each in (one, two):
                await select(each, "stubborn", "any")
            await two.emit("generate_text", {"prompt": "slow", "n_predicts": 60})
            first = await two.next("text_chunk")
            error = ends_once(await one.generate("raise"))["error"]
            assert "ValueError: a mistake in the binding" in error and "Traceback" not in error
            error = ends_once(await one.generate("complain"))["error"]
            assert error == "this prompt is not to my taste"
            end = ends_once([first, *await two.until("text_generated")])
            assert len(end["text"].split()) == 60

    run(scenario())


def test_a_load_that_kills_its_worker_leaves_the_old_model_serving(supervised: Home) -> None:
    async def scenario() -> None:
        async with client(supervised) as connected:
            await select(connected, "stubborn", "any")
            answer = await connected.ask(
                "select_model", {"model_name": "deadly"}, reply="select_model"
            )
            assert answer["success"] is False and "SIGABRT" in answer["error"], answer
            served = await connected.generate("fine")
            assert ends_once(served)["tokens"] == 3

    run(scenario())


def test_a_binding_that_is_dropped_in_is_served_without_a_restart(
    supervised: Home, bindings: Path
) -> None:
    (bindings / "late").mkdir()
    for file in (bindings / "single").iterdir():
        if file.is_file():
            (bindings / "late" / file.name).write_bytes(file.read_bytes())

    async def scenario() -> None:
        async with client(supervised) as connected:
            await select(connected, "late", "two")
            assert ends_once(await connected.generate("x", n_predicts=2))["text"] == "two0 two1 "

    run(scenario())


def test_ready_follows_the_default_model(supervised: Home) -> None:
    async def scenario() -> None:
        async with client(supervised) as connected:
            await select(connected, "stubborn", "any")
            assert supervised.http("/ready")[0] == 200
            await connected.generate("kill")
            await asyncio.to_thread(supervised.ready)

    run(scenario())
    status, body = supervised.http("/ready")
    assert status == 200 and json.loads(body)["ready"] is True


def test_stopping_leaves_nothing_behind(tmp_path: Path, bindings: Path) -> None:
    with home(tmp_path, bindings_path=str(bindings), binding_name="echo", model_name="echo") as h:
        launcher = h.launch()
        pids = [h.gateway_pid(), *h.worker_pids()]
        assert len(pids) == 2
        started = time.monotonic()
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(20) == 0
        assert time.monotonic() - started < 10
        for pid in pids:
            until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), f"the end of {pid}")
        left = {path.name for path in (tmp_path / "run").iterdir()} - {"programs", "hello"}
        assert not left


def test_a_taken_port_or_home_is_one_line_and_no_harm(tmp_path: Path, bindings: Path) -> None:
    with home(tmp_path / "one", bindings_path=str(bindings)) as one:
        one.gateway()
        with home(tmp_path / "two", bindings_path=str(bindings), port=str(one.port)) as two:
            process = two.start_plain("gateway")
            assert process.wait(10) == 1
            assert str(one.port) in two.log("gateway").splitlines()[-1]
            launcher = two.start_plain("gateway.launch")
            assert launcher.wait(10) == 1
        again = one.start_plain("gateway")
        assert again.wait(10) == 1
        assert "run folder" in one.log("gateway").splitlines()[-1]
        assert one.http("/health")[0] == 200
