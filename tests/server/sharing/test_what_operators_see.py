"""/status and /metrics tell who shares what, while it happens."""

import asyncio
import json
from typing import Any

from tests.server.contract.test_backpressure import metric
from tests.server.contract.test_generation import ends_once
from tests.server.sharing.conftest import stalled_clients
from tests.support.harness import Home, client, run, until


def test_a_parked_answer_an_eviction_and_a_sleeping_model_are_seen(server: Home) -> None:
    def status() -> Any:
        return json.loads(server.http("/status")[1])

    async def scenario() -> None:
        async with client(server) as newcomer:
            async with stalled_clients(server, 1, websocket=True):
                answer = await newcomer.ask(
                    "select_model", {"model_name": "lorem-10ms"}, reply="select_model"
                )
                assert answer["success"]
                ends_once(await newcomer.generate("x", n_predicts=3))
                await asyncio.to_thread(
                    until, lambda: metric(server, "requests_parked") == 1, "the parked answer"
                )
                now = status()
                assert now["queue"]["parked"] == now["addresses"]["parked"] == 1
                assert now["addresses"]["count"] == 1 and not now["holders"]
                assert now["evictions"]["another model"] >= 1
                assert now["asleep"] == ["echo/lorem"]
                [model] = now["models"]
                assert model["model"] == "lorem-10ms" and len(model["workers"]) == 1
                assert metric(server, "models_evicted_total") >= 1
                assert metric(server, "replicas") == 1
            await asyncio.to_thread(
                until, lambda: metric(server, "requests_parked") == 0, "its end"
            )
            assert metric(server, "owners") == 0

    run(scenario())
