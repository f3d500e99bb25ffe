"""Everything that a frontend may use: the Socket.IO endpoints, HTTP, and others to come."""

from dataclasses import dataclass

from gateway.config.settings import Settings
from gateway.inference.default_model import DefaultModel
from gateway.inference.generation_runner import Generations
from gateway.inference.unary_requests import UnaryRequests
from gateway.models.catalog import Catalog
from gateway.observability.metrics import Metrics
from gateway.personalities.mounted import Mounted
from gateway.personalities.zoo import Zoo
from gateway.provisioning.provider import WorkerProvider
from gateway.scheduling.dispatcher import Dispatcher
from gateway.scheduling.quarantine import Quarantine
from gateway.scheduling.quotas import Quotas
from gateway.sessions.planning import Planning
from gateway.sessions.registry import Sessions
from gateway.sessions.selections import Selections
from gateway.workers.link import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    settings: Settings
    metrics: Metrics
    began: float
    """`time.monotonic()` at the start."""

    # Resources and requests.
    catalog: Catalog
    zoo: Zoo
    mounted: Mounted
    selections: Selections
    planning: Planning
    generations: Generations
    unary: UnaryRequests

    # Clients.
    sessions: Sessions
    quotas: Quotas

    # For operators: readiness and status.
    default: DefaultModel
    link: Link
    dispatcher: Dispatcher
    quarantine: Quarantine
    provider: WorkerProvider
