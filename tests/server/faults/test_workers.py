"""Faults of a worker: its clients get an error or continue, other clients see nothing."""

import asyncio
from pathlib import Path

import pytest

from tests.server.contract.test_generation import select
from tests.support.harness import Home, chunks, client, home, run
from tests.support.invariants import asked, checked, status, stopped, watched

ENDS = {
    "segfault": "SIGSEGV",
    "abort": "SIGABRT",
    "kill": "SIGKILL",
    "exit": "exit code 3",
    "sysexit": "exit code 3",
    "memory": "MemoryError",
    "allocate": "MemoryError",
    "fork": "exit code 1",
    "freeze": "frozen",
    "loop": "no progress",
    "hang": "no progress",
    "seize": "was ended",
}
"""Prompt that triggers the fault, and what the error says about the end of the worker."""
WORDS = 100
AFTER = 20


@pytest.mark.parametrize(("fault", "how"), ENDS.items())
def test_the_worker_ends_and_its_user_is_told_or_goes_on(
    server: Home, fault: str, how: str
) -> None:
    """A generation of `faulty` can be resumed in another worker, one of `stubborn` cannot."""

    async def scenario() -> None:
        async with client(server) as told, client(server) as continued:
            await select(told, "stubborn", "any")
            await select(continued, "faulty", "any")
            async with watched(server):
                (end, events), (went_on, all_of_it) = await asyncio.gather(
                    asked(told, f"{fault}@2 3"), asked(continued, f"{fault}@{AFTER} 3 once")
                )
                error = checked(events)
                assert end == "generation_error" and error["code"] == "worker_lost", error
                assert "stubborn" in error["error"] and how in error["error"], error
                assert "Traceback" not in error["error"] and "\n" not in error["error"]
                assert "word0 word1 ".startswith(chunks(events))  # some may be lost with it
                assert error["tokens"] == len(chunks(events).split())
                assert went_on == "text_generated", all_of_it[-1]
                assert chunks(all_of_it) == "".join(f"word{n} " for n in range(WORDS))
            for connected, text in ((told, "word0 word1 word2 "), (continued, "word0 ")):
                end, events = await asked(connected, "fine", n_predicts=len(text.split()))
                assert end == "text_generated" and chunks(events) == text, events[-1]
            for worker in (await status(server))["workers"]:
                assert worker["state"] in ("idle", "busy", "empty", "loading"), worker

    run(scenario())


async def pids(server: Home, binding: str) -> set[int]:
    workers = (await status(server))["workers"]
    return {worker["pid"] for worker in workers if worker["binding"] == binding}


@pytest.mark.parametrize(
    ("fault", "text"),
    [("raise", "ValueError: a mistake in the binding"), ("complain", "not to my taste")],
)
def test_an_exception_ends_one_request_and_no_worker(server: Home, fault: str, text: str) -> None:
    async def scenario() -> None:
        async with client(server) as connected, client(server) as neighbour:
            for each in (connected, neighbour):
                await select(each, "faulty", "any")
            before = await pids(server, "faulty")
            async with watched(server):
                (end, events), (other, of_other) = await asyncio.gather(
                    asked(connected, f"{fault}@7"), asked(neighbour, "slow", n_predicts=50)
                )
                error = checked(events)
                assert end == "generation_error" and text in error["error"], error
                assert chunks(events) == "".join(f"word{n} " for n in range(7))
                assert other == "text_generated" and checked(of_other)["tokens"] == 50
            assert await pids(server, "faulty") == before

    run(scenario())


def test_a_flood_on_standard_output_disturbs_nobody(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "faulty", "any")
            async with watched(server):
                end, events = await asked(connected, "flood@3")
                assert end == "text_generated" and checked(events)["tokens"] == WORDS
            logs = (server.folder / "logs").iterdir()
            assert sum(log.stat().st_size for log in logs) < 64 * 2**20

    run(scenario())


def test_a_long_honest_job_outlives_several_stall_limits(tmp_path: Path, bindings: Path) -> None:
    """Ten seconds without any output, as for a long prompt; and ten seconds with slow output."""
    with (
        home(
            tmp_path, bindings_path=str(bindings), binding_name="echo", model_name="lorem-10ms",
            stall_limit="2",  # heartbeats, which tell of progress, come once a second
        ) as server,
        stopped(server),
    ):  # fmt: skip

        async def scenario() -> None:
            async with client(server) as thinking, client(server) as speaking:
                for each in (thinking, speaking):
                    await select(each, "faulty", "any")
                async with watched(server):
                    ends = await asyncio.gather(
                        asked(thinking, "think@0 10"), asked(speaking, "slow", n_predicts=1000)
                    )
                    assert [end for end, _ in ends] == ["text_generated"] * 2, ends

        run(scenario())


@pytest.mark.parametrize(
    ("model", "how"),
    [("deadly", "SIGABRT"), ("broken", "a mistake in the binding"), ("hung", "no progress")],
)
def test_a_load_that_fails_leaves_the_model_in_use_serving(
    server: Home, model: str, how: str
) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            await select(connected, "faulty", "any")
            async with watched(server):
                answer = await connected.ask(
                    "select_model", {"model_name": model}, reply="select_model"
                )
                assert answer["success"] is False and how in answer["error"], answer
                end, events = await asked(connected, "fine", n_predicts=3)
                assert end == "text_generated" and checked(events)["tokens"] == 3

    run(scenario())
