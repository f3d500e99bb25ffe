"""What the tests of sharing have in common: a server with one worker, and clients that stall."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from shutil import copytree

import pytest

from tests.server.contract.conftest import gathered
from tests.support.engineio_lines import SteppedClient, stepped_client
from tests.support.harness import ROOT, Home, home

SHARING_BINDINGS = ROOT / "tests" / "support" / "sharing_bindings"
MANY = 1_000_000
"""Tokens of an answer that does not end during a test."""


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = gathered(tmp_path_factory.mktemp("bindings"))
    return Path(copytree(SHARING_BINDINGS, folder, dirs_exist_ok=True))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    """One worker with 64 slots, for two models."""
    with home(
        tmp_path_factory.mktemp("home"), bindings_path=str(bindings), binding_name="echo",
        model_name="lorem", drain_limit="1",
    ) as opened:  # fmt: skip
        opened.gateway()
        opened.worker("echo")
        opened.ready()
        yield opened


@asynccontextmanager
async def stalled_clients(
    server: Home, count: int, *, websocket: bool
) -> AsyncIterator[list[SteppedClient]]:
    """Clients that ask for a very long answer, take its beginning and read no more."""
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(count):
            one = await stack.enter_async_context(stepped_client(server, websocket=websocket))
            await one.emit(
                "generate_text",
                {"prompt": "x", "n_predicts": MANY, "parameters": {"seed": number}},
            )
            clients.append(one)
        yield clients
