"""Is an idle worker stopped when its model's time is over, and no other?"""

import asyncio
from pathlib import Path

from gateway.workers.health_monitor import HealthMonitor
from gateway.workers.worker import Worker
from protocol.messages import Hello
from tests.gateway.workers.test_link import Place, place
from tests.support.harness import PATIENCE, run

BEAT = 0.1


def joined(here: Place, model: str) -> Worker:
    """A remote worker, whose process is nobody's here, and whose heartbeats never end."""
    now = asyncio.get_running_loop().time()
    hello = Hello(protocol=0, binding="echo", pid=1, slots=1, model=model, host="elsewhere")
    worker = here.fleet.join(f"echo.1.{model}".encode(), hello, now, entry="rack7")
    here.fleet.hear(worker, now + 1e6)
    return worker


def test_each_worker_is_stopped_after_the_time_of_its_own_model(tmp_path: Path) -> None:
    times = {"soon": 0.01, "busy": 0.01, "later": 1e6, "never": 0.0, "": 0.01}
    stopped: list[str] = []
    enough = asyncio.Event()

    async def stop(worker: Worker) -> bool:
        assert worker.retiring, "it gets no request while it is being stopped"
        stopped.append(worker.model)
        if stopped.count("soon") == 3:  # the check goes on with workers that stay
            enough.set()
        return worker.model != "soon"

    async def scenario() -> None:
        async with place(tmp_path, heartbeat=BEAT) as here:
            workers = {model: joined(here, model) for model in times}
            here.fleet.assign(workers["busy"], 1, asyncio.get_running_loop().time())
            health = HealthMonitor(
                here.link, stop, stall_limit=0.0, load_limit=0.0,
                keep_alive=lambda worker: times[worker.model],
            )  # fmt: skip
            task = asyncio.create_task(health.run())
            async with asyncio.timeout(PATIENCE):
                await enough.wait()
            task.cancel()
            assert {worker.model for worker in here.fleet.all() if worker.retiring} == {""}

    run(scenario())
    assert set(stopped) == {"soon", ""}, "also one without a model"
