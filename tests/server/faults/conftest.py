"""A supervised server for each module; after it no process and no socket may be left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.contract.conftest import gathered
from tests.support.harness import Home, home
from tests.support.invariants import stopped

STALL_LIMIT = 3.0
MEMORY_LIMIT = 300
"""MiB, for tests of a binding that allocates without limit."""


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gathered(tmp_path_factory.mktemp("bindings"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bindings: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("faults")
    limits = "".join(
        f"  {name}: {{memory_limit: {MEMORY_LIMIT}}}\n" for name in ("faulty", "stubborn")
    )
    (folder / "config.yaml").write_text(f"bindings:\n{limits}")
    with (
        home(
            folder, bindings_path=str(bindings), binding_name="echo", model_name="lorem-10ms",
            stall_limit=str(STALL_LIMIT), load_limit="3",
        ) as opened,
        stopped(opened),
    ):  # fmt: skip
        yield opened
