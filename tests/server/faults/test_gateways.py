"""A killed gateway: the next one takes the running workers over and loads nothing again."""

import signal
import time
from pathlib import Path

from tests.support.harness import Home, chunks, client, home, run, until
from tests.support.invariants import asked, lorem, saved, stopped, watched


async def interrupted(server: Home) -> None:
    """Kill the gateway during a generation."""
    async with client(server) as connected:
        await connected.emit("generate_text", {"prompt": "x", "n_predicts": 100_000})
        await connected.next("text_chunk")
        server.kill(server.gateway_pid(), signal.SIGKILL)
        await connected.sio.wait()


async def served(server: Home) -> None:
    async with client(server) as connected:
        end, events = await asked(connected, "x", n_predicts=5, parameters={"seed": 9})
        assert end == "text_generated" and chunks(events) == lorem(5, 9), events


def test_workers_outlive_the_gateway_with_their_models(tmp_path: Path, bindings: Path) -> None:
    with (
        home(
            tmp_path, bindings_path=str(bindings), binding_name="echo", model_name="lorem-10ms"
        ) as server,
        stopped(server),
    ):
        run(served(server))
        before, workers, state = server.gateway_pid(), server.worker_pids(), saved(server)
        run(interrupted(server))
        until(lambda: server.supervised_pids().get("gateway", before) != before, "its restart")
        began = time.monotonic()
        server.ready()
        run(served(server))
        print(f"served {time.monotonic() - began:.2f} s after the start")
        assert server.worker_pids() == workers
        assert saved(server) == state
        assert server.log("echo_00").count("loaded lorem-10ms") == 1

        async def afterwards() -> None:
            async with watched(server):
                pass

        run(afterwards())
