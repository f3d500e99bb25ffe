"""How is a worker started and stopped, and how did it end? (supervisor's XML-RPC)"""

from pathlib import Path

from gateway.dispatch import NoWorker
from gateway.fleet import Worker
from gateway.settings import Settings


class Supervision:
    def __init__(self, settings: Settings, run: Path) -> None:
        pass

    async def start_worker(self, binding: str) -> bool:
        raise NoWorker(f"no worker of the binding {binding} runs, and nobody is there to start one")

    async def post_mortem(self, worker: Worker, how: str) -> str:
        return how
