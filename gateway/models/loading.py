"""Load messages: the model's file, the settings of its binding, and the memory in use."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from gateway.config.settings import Settings
from gateway.errors import LoadFailed, ModelNotFound
from gateway.models.catalog import Catalog
from protocol.messages import Load


class LoadingWorker(Protocol):
    """Of a worker what a Load message depends on."""

    @property
    def binding(self) -> str: ...

    @property
    def remote(self) -> bool: ...

    @property
    def models(self) -> Mapping[str, int]:
        """The files of a remote one: name to size in bytes."""


W = TypeVar("W", bound=LoadingWorker)
W_contra = TypeVar("W_contra", bound=LoadingWorker, contravariant=True)


class Memory(Protocol[W_contra]):
    """Which memory the workers use."""

    def sharers(self) -> int:
        """How many workers share the cores."""

    def mapped_beside(self, worker: W_contra) -> int:
        """Bytes of files that others on its machine map."""

    def expect_mapped(self, worker: W_contra, size: int) -> None: ...


class LoadMessages(Generic[W]):
    def __init__(self, catalog: Catalog, settings: Settings, memory: Memory[W]) -> None:
        self._catalog = catalog
        self._settings = settings
        self._memory = memory

    async def build(self, worker: W, model: str) -> Callable[[int], Load]:
        """From the request's id to its message. Raise LoadFailed for an unknown model.

        From here on the model's file counts as used memory for the loads of other workers.
        """
        path, size = await self._file(worker, model)
        settings = self._settings.binding_options(worker.binding)
        if self._settings.ctx_size:
            settings["n_ctx"] = self._settings.ctx_size
        settings["sharers"] = max(1, self._memory.sharers())
        # Nothing waits between these two: of two loads at once, one counts the other's file.
        mapped = self._memory.mapped_beside(worker)
        self._memory.expect_mapped(worker, size)
        return lambda id: Load(id, model, str(path or ""), settings, mapped)

    async def is_local(self, binding: str, model: str) -> bool:
        """Whether workers of this machine can load it."""
        try:
            await self._catalog.find_model(binding, model)
        except ModelNotFound:
            return False
        return True

    async def _file(self, worker: W, model: str) -> tuple[Path | None, int]:
        """Path and size. A remote worker may have a model that the catalogue has not."""
        try:
            path = await self._catalog.find_model(worker.binding, model)
        except ModelNotFound as error:
            if worker.remote and model in worker.models:
                return None, worker.models[model]
            raise LoadFailed(str(error)) from None
        if worker.remote and model in worker.models:
            return path, worker.models[model]
        return path, await self._catalog.file_size(worker.binding, model)
