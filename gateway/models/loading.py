"""Load messages: the model's file, and the settings that its binding gets."""

from collections.abc import Callable

from gateway.config.settings import Settings
from gateway.errors import LoadFailed, ModelNotFound
from gateway.models.catalog import Catalog
from gateway.workers.fleet import Worker
from protocol.messages import Load


class LoadMessages:
    def __init__(self, catalog: Catalog, settings: Settings, sharers: Callable[[], int]) -> None:
        """`sharers` is how many workers share the cores."""
        self._catalog = catalog
        self._settings = settings
        self._sharers = sharers

    async def is_local(self, binding: str, model: str) -> bool:
        return True

    async def build(self, worker: Worker, model: str) -> Callable[[int], Load]:
        """From the request's id to its message. Raise LoadFailed for an unknown model."""
        binding = worker.binding
        try:
            path = await self._catalog.find_model(binding, model)
        except ModelNotFound as error:
            raise LoadFailed(str(error)) from None
        settings = self._settings.binding_options(binding)
        if self._settings.ctx_size:
            settings["n_ctx"] = self._settings.ctx_size
        settings["sharers"] = max(1, self._sharers())
        return lambda id: Load(id, model, str(path or ""), settings)
