"""A Load message has the model's file, wherever it lies, and knows what others map."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config.loading import load_settings
from gateway.errors import LoadFailed
from gateway.models.catalog import Catalog
from gateway.models.loading import LoadMessages
from protocol.messages import Load


@dataclass(eq=False)
class Loader:
    binding: str = "b"
    remote: bool = False
    models: dict[str, int] = field(default_factory=dict)


class Machine:
    """Counts what its workers map, as the fleet does."""

    def __init__(self) -> None:
        self.expected: dict[Loader, int] = {}

    def sharers(self) -> int:
        return 2

    def mapped_beside(self, worker: Loader) -> int:
        return sum(size for other, size in self.expected.items() if other is not worker)

    def expect_mapped(self, worker: Loader, size: int) -> None:
        self.expected[worker] = size


class Here:
    """A binding with the local model `here.gguf` and the API model `api`."""

    def __init__(self, folder: Path) -> None:
        binding = folder / "bindings" / "b"
        binding.mkdir(parents=True)
        (binding / "binding_card.yaml").write_text("extensions: [.gguf]")
        (binding / "models.yaml").write_text("- {filename: api, model_type: api}")
        models = folder / "models" / "b"
        models.mkdir(parents=True)
        self.file = models / "here.gguf"
        self.file.write_bytes(b"x" * 100)
        self.machine = Machine()
        catalog = Catalog(folder / "bindings", folder / "models")
        settings = load_settings(["--home", str(folder), "--ctx_size", "99"], {})
        self.loads: LoadMessages[Loader] = LoadMessages(catalog, settings, self.machine)

    def load(self, worker: Loader, model: str) -> Load:
        return asyncio.run(self.loads.build(worker, model))(7)


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_a_local_model_is_loaded_from_its_file(here: Here) -> None:
    worker = Loader()
    load = here.load(worker, "here.gguf")
    assert load == Load(7, "here.gguf", str(here.file), {"n_ctx": 99, "sharers": 2})
    assert here.machine.expected == {worker: 100}


def test_a_model_without_a_file_maps_nothing(here: Here) -> None:
    worker = Loader()
    assert here.load(worker, "api").path == ""
    assert here.machine.expected == {worker: 0}


def test_of_loads_at_the_same_time_one_counts_the_file_of_the_other(here: Here) -> None:
    async def both() -> list[int]:
        builds = (here.loads.build(Loader(), "here.gguf") for _ in range(2))
        return sorted(build(7).mapped for build in await asyncio.gather(*builds))

    assert asyncio.run(both()) == [0, 100]


def test_a_remote_worker_loads_a_model_that_only_it_has(here: Here) -> None:
    worker = Loader(remote=True, models={"there.gguf": 30})
    load = here.load(worker, "there.gguf")
    assert (load.model, load.path) == ("there.gguf", "")
    assert here.machine.expected == {worker: 30}


def test_a_remote_worker_s_own_copy_has_its_own_size(here: Here) -> None:
    worker = Loader(remote=True, models={"here.gguf": 30})
    assert here.load(worker, "here.gguf").path == str(here.file)
    assert here.machine.expected == {worker: 30}


@pytest.mark.parametrize("worker", [Loader(models={"m": 1}), Loader(remote=True)])
def test_a_model_that_neither_has_is_not_loaded(here: Here, worker: Loader) -> None:
    with pytest.raises(LoadFailed, match="no model named 'm'"):
        here.load(worker, "m")
    assert here.machine.expected == {}


def test_only_what_the_catalogue_finds_is_local(here: Here) -> None:
    async def local(binding: str, model: str) -> bool:
        return await here.loads.is_local(binding, model)

    assert asyncio.run(local("b", "here.gguf")) and asyncio.run(local("b", "api"))
    assert not asyncio.run(local("b", "there.gguf")) and not asyncio.run(local("c", "here.gguf"))
