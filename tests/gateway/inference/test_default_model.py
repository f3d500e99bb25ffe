"""The default model is ready if it is loaded, or is loaded as soon as somebody asks for it."""

from types import SimpleNamespace
from typing import Any

from gateway.inference.default_model import DefaultModel
from gateway.workers.worker import Worker
from tests.gateway.scheduling.test_dispatcher import Scene, scene, settled


def default(here: Scene) -> DefaultModel:
    link: Any = SimpleNamespace(fleet=here.fleet, silent=lambda worker: False)
    return DefaultModel(lambda: ("b", "m"), here.dispatcher, link)


def lost(here: Scene, worker: Worker) -> None:
    here.fleet.lose(worker.identity)
    here.dispatcher.lost(worker, "died")


def test_one_that_was_replaced_is_ready_and_one_that_is_missing_is_not() -> None:
    async def test(here: Scene) -> None:
        ready = default(here)
        assert ready.unready() == "no worker of the binding b holds m"
        worker = here.join("w", "m")
        assert ready.unready() == ""
        here.workers.go.clear()
        other = here.hold("n")
        await settled()
        assert worker.loading == "n" and ready.unready() == "", "also while that is loaded"
        here.workers.go.set()
        await other.runs()
        assert ready.unready() == "" and here.dispatcher.asleep == {("b", "m")}
        assert here.metrics.models_evicted["another model"] == 1
        lost(here, worker)
        assert ready.unready() == "", "the other model is missing, not this one"
        await other.let_go()

    scene(test)


def test_one_that_does_not_load_any_more_is_not_ready() -> None:
    async def test(here: Scene) -> None:
        worker = here.join("w", "m")
        here.fleet.retire(worker, 0)
        lost(here, worker)
        assert default(here).unready() == ""
        here.dispatcher.circuits.failed(("b", "m"), "too large", 0, 2, blocks_requests=True)
        assert default(here).unready() == "too large"
        here.dispatcher.circuits.close(("b", "m"))
        here.workers.broken["m"] = "the file is damaged"
        held = here.hold("m")
        await settled()
        assert held.task.exception()
        assert default(here).unready() == "the file is damaged"

    scene(test, processes=1)
