"""The contract holds when engineio's insides are unknown, and nothing is hooked into it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The tests of these modules are run again here, with the server of this one.
from tests.server.contract.test_generation import *  # noqa: F403
from tests.server.contract.test_listings import *  # noqa: F403
from tests.server.contract.test_selections import *  # noqa: F403
from tests.server.contract.test_transports import *  # noqa: F403
from tests.support.harness import Home, home, until

# Only a ping ends the pending poll of a polling client that has said goodbye: hence a second.
UNKNOWN = """
import sys
from gateway.__main__ import main
from gateway.socketio import engineio_hooks

engineio_hooks.TESTED["python-engineio"] = "0.1."
sys.exit(main())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    with home(
        tmp_path_factory.mktemp("home"), bindings_path=str(bindings), binding_name="echo",
        model_name="lorem", ping_interval="1", ping_timeout="1",
    ) as opened:  # fmt: skip
        process = opened.start(sys.executable, "-c", UNKNOWN, name="gateway")
        until(lambda: process.poll() is not None or opened.http("/health")[0] == 200, "the start")
        assert process.poll() is None, opened.log("gateway")
        for binding in ("echo", "echo", "single"):
            opened.worker(binding)
        opened.ready()
        yield opened


def test_the_log_says_so_once(server: Home) -> None:
    log = server.log("gateway")
    assert log.count("clients are served by python-socketio alone, which is slower") == 1
    assert "python-engineio is" in log and "known is 0.1.x" in log
