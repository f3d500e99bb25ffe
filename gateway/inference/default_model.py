"""The default model: keep it loaded, and say why it cannot serve."""

import asyncio
import logging
import time
from collections.abc import Callable

from gateway.errors import Busy, LoadFailed, NoWorker
from gateway.scheduling.dispatcher import Dispatcher
from gateway.workers.link import Link

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
"""Between checks whether it is still loaded."""


class DefaultModel:
    def __init__(
        self, selected: Callable[[], tuple[str, str]], dispatcher: Dispatcher, link: Link
    ) -> None:
        """`selected` returns binding and model, "" for what is not selected."""
        self.selected = selected
        self._dispatcher = dispatcher
        self._link = link

    async def keep_loaded(self) -> None:
        """Load it whenever it is missing, until cancelled: the first client need not wait for it.

        After each failure the next try is later; see the circuit breaker.
        """
        logged = ""
        while True:
            try:
                binding, model = self.selected()
                failed = self._dispatcher.circuits.any_open(binding, model, time.monotonic())
                if self._missing(binding, model) and not failed:
                    await self._dispatcher.ensure(binding, model)
                    logged = ""
            except (Busy, LoadFailed, NoWorker) as error:
                if str(error) != logged:
                    log.warning("the default model cannot serve yet: %s", error)
                logged = str(error)
            await asyncio.sleep(CHECK_SECONDS)

    def unready(self, *, stopping: bool = False) -> str:
        """Why it cannot serve now, in one sentence; "" when it can."""
        binding, model = self.selected()
        if not binding or not model:
            return "no model is selected"
        if stopping:
            return "the server is stopping"
        fleet, dispatcher = self._link.fleet, self._dispatcher
        holders = fleet.holders(binding, model)
        if self._asleep(binding, model) or not all(map(self._link.silent, holders)):
            return ""
        if holders:
            return f"the worker that holds {model} does not answer"
        if any(worker.loading == model for worker in fleet.of(binding)):
            return f"loading {model}"
        for key in ((binding, model), (binding, "")):
            if error := dispatcher.circuits.error(key):
                return error
        return f"no worker of the binding {binding} holds {model}"

    def _missing(self, binding: str, model: str) -> bool:
        """No worker holds it, it was not unloaded on purpose, and loading it would unload no other
        model."""
        workers = self._link.fleet.of(binding)
        occupied = any(worker.model or worker.loading for worker in workers)
        return bool(binding and model) and not (occupied or self._asleep(binding, model))

    def _asleep(self, binding: str, model: str) -> bool:
        """It was unloaded on purpose, and nothing is known that would keep it from being loaded."""
        key = binding, model
        return key in self._dispatcher.asleep and not self._dispatcher.circuits.error(key)
