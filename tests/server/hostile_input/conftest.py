"""One server for each module, and the invariants that hold after each block of input."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import ROOT, Home, client, home, names, run
from tests.support.zoos import add

Block = Callable[[str], Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bindings, a zoo of two personalities, and files outside that no client may reach."""
    folder = tmp_path_factory.mktemp("folders")
    shutil.copytree(ROOT / "tests" / "support" / "bindings", folder / "bindings")
    shutil.copytree(ROOT / "bindings" / "echo", folder / "bindings" / "echo")
    shutil.copytree(ROOT / "bindings" / "echo", folder / "outside")
    add(folder / "zoo", "english/a/b", logo="logo.png")
    add(folder / "zoo", "french/a/c")
    add(folder / "secret", "english/a/hidden")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folders: Path) -> Iterator[Home]:
    with home(
        tmp_path_factory.mktemp("home"),
        bindings_path=str(folders / "bindings"),
        personalities_path=str(folders / "zoo"),
        binding_name="echo",
        model_name="lorem",
    ) as opened:
        opened.gateway()
        opened.worker("echo")
        opened.ready()
        yield opened


@pytest.fixture
def block(server: Home, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Wraps hostile input: afterwards the state is unchanged, no error was logged, another client
    got no event, and a normal generation succeeds. `counts` is printed."""

    @contextmanager
    def around(title: str, counts: dict[str, int], *, changes: bool = False) -> Iterator[None]:
        gateway = server.processes[0]
        state = server.folder / "state.json"
        before = state.read_bytes()
        logs = {path: path.stat().st_size for path in (server.folder / "logs").iterdir()}
        bystander = Bystander(server)
        yield
        bystander.received_nothing()
        assert gateway.poll() is None and server.http("/ready")[0] == 200
        assert changes or state.read_bytes() == before
        for path in (server.folder / "logs").iterdir():
            said = path.read_bytes()[logs.get(path, 0) :].decode(errors="replace")
            assert "Traceback" not in said and " ERROR gateway" not in said, said[-3000:]
        works(server)
        with capsys.disabled():
            print(f"\n{title}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))

    return around


class Bystander:
    """Another client, which must receive nothing."""

    def __init__(self, server: Home) -> None:
        self._runner = asyncio.Runner()
        self._context = client(server)
        self._client = self._runner.run(self._context.__aenter__())

    def received_nothing(self) -> None:
        received = self._runner.run(self._client.settle())
        self._runner.run(self._context.__aexit__(None, None, None))
        self._runner.close()
        assert received == []


def works(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            events = await connected.generate("x", n_predicts=5)
            assert names(events) == ["text_chunk"] * 5 + ["text_generated"], events

    run(scenario())
