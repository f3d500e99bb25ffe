"""A request that has killed workers is refused at once; other requests are served."""

import asyncio
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.contract.test_generation import ends_once
from tests.support.harness import Client, Home, client, home, run

ENDS = {"segfault": "SIGSEGV", "hang": "made no progress"}


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("supervised")
    with home(
        folder, bindings_path=str(bindings), binding_name="stubborn", model_name="any",
        stall_limit="1",
    ) as server:  # fmt: skip
        server.launch()
        yield server


async def asked(connected: Client, prompt: str, **fields: Any) -> Any:
    return ends_once(await connected.generate(prompt, **fields) + await connected.settle())


@pytest.mark.parametrize("fault", ENDS)
def test_the_third_time_it_is_refused_and_the_worker_stays(supervised: Home, fault: str) -> None:
    async def scenario() -> None:
        async with client(supervised) as connected:
            assert (await asked(connected, fault))["code"] == "worker_lost"
            # "poison" if a worker died before its first chunk left: a retry has killed a second.
            assert (await asked(connected, fault))["code"] in ("worker_lost", "poison")
            assert (await asked(connected, "fine"))["tokens"] == 3
            before = supervised.supervised_pids()
            times = []
            for _ in range(9):
                began = time.perf_counter()
                end = await asked(connected, fault)
                times.append(time.perf_counter() - began)
                assert end["code"] == "poison", end
                assert "2 workers of the binding stubborn died with it" in end["error"]
            print(f"refused after {sorted(times)[4] * 1000:.1f} ms")
            assert sorted(times)[4] < 0.1
            assert supervised.supervised_pids() == before
            # With other parameters it is another request.
            assert (await asked(connected, fault, n_predicts=2))["tokens"] == 2
            assert (await asked(connected, "fine"))["tokens"] == 3

    run(scenario())
    told = rf"WARNING .*request \w+ to any is refused.*{ENDS[fault]}"
    assert len(re.findall(told, supervised.log("gateway"))) == 1
    assert "lollms_poison_refused_total" in supervised.http("/metrics")[1]


def test_a_hang_counts_though_nobody_waits_for_it_any_more(supervised: Home) -> None:
    async def scenario() -> None:
        async with client(supervised) as connected:
            for _ in range(2):
                await connected.emit("generate_text", {"prompt": "loop"})
                await connected.next("text_chunk")
                pid = supervised.supervised_pids()["stubborn_00"]
                await connected.emit("cancel_generation")
                await connected.next("text_generated")
                async with asyncio.timeout(20):
                    while supervised.supervised_pids().get("stubborn_00", pid) == pid:
                        await asyncio.sleep(0.05)
                assert (await asked(connected, "fine"))["tokens"] == 3
            assert (await asked(connected, "loop"))["code"] == "poison"

    run(scenario())


def test_who_was_only_there_is_served_again(supervised: Home) -> None:
    async def scenario() -> None:
        async with client(supervised) as one, client(supervised) as two:

            async def died(*clients: Client) -> None:
                for length, each in enumerate(clients, 300):
                    await each.emit("generate_text", {"prompt": "slow", "n_predicts": length})
                    await each.next("text_chunk")
                supervised.kill(supervised.supervised_pids()["stubborn_00"], signal.SIGKILL)
                for each in clients:
                    assert (await each.reply("generation_error"))["code"] == "worker_lost"

            await died(one, two)
            await died(one, two)  # both times together: either may be the cause
            await died(one)
            assert (await asked(one, "slow", n_predicts=300))["code"] == "poison"
            assert (await asked(two, "slow", n_predicts=301))["tokens"] == 301

    run(scenario())
