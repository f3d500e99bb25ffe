"""One server for each module: a gateway and three workers on a free port, in its own home."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness import ROOT, Home, home


def gathered(folder: Path) -> Path:
    """The bindings of the tests, and those of the project that need no model."""
    shutil.copytree(ROOT / "tests" / "support" / "bindings", folder, dirs_exist_ok=True)
    for name in ("echo", "faulty"):
        shutil.copytree(ROOT / "bindings" / name, folder / name)
    (folder / "faulty" / "on_request").unlink()
    return folder


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gathered(tmp_path_factory.mktemp("bindings"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    with home(
        folder, bindings_path=str(bindings), binding_name="echo", model_name="lorem"
    ) as opened:
        opened.gateway()
        for binding in ("echo", "echo", "single"):
            opened.worker(binding)
        opened.ready()
        yield opened
