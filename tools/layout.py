"""The layout of the code: floors of the gateway, allowed imports, places of libraries.

`tests/test_architecture.py` holds the code to these tables, and `tools.docs_tables`
writes them into docs/architecture.md.
"""

import ast
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PROGRAMS = {
    "protocol": {"protocol"},
    "gateway": {"gateway", "protocol"},
    "worker": {"worker", "protocol"},
    "bindings": {"worker.binding", "bindings", "protocol.sampling"},
    "chat": {"chat"},
    "embedded_model": {"embedded_model"},
}
"""Each program, and what of ours it may import."""

FLOORS = (
    ("__main__",),
    ("app", "launch", "keys", "security_report"),
    ("http", "socketio"),
    ("core",),
    ("sessions",),
    ("inference",),
    ("scheduling",),
    ("provisioning",),
    ("workers",),
    ("models", "personalities"),
    ("security",),
    ("config",),
    ("storage", "observability"),
    ("validation",),
    ("errors",),
)
"""Packages and modules of `gateway/`, from the top. Each imports itself and the floors below."""

_STORED = {"config": set[str](), "models": set[str](), "personalities": set[str]()}
_LOWER = {name: set[str]() for name in ("models", "personalities", "security", "config", "storage")}
NEVER: dict[str, dict[str, set[str]]] = {
    "http": {"provisioning": set()},
    "socketio": {"provisioning": set()},
    "inference": _STORED,
    "scheduling": {**_STORED, "security": {"TokenHolder"}, "provisioning": {"WorkerProvider"}},
    "provisioning": {"models": set(), "personalities": set(), "security": set()},
    "workers": _LOWER,
    "models": {"security": set()},
    "personalities": {"security": set()},
}
"""Exceptions to the floors: which box must not import which other, but for these names."""

LIBRARIES = {
    "socketio": {"socketio"},
    "engineio": {"socketio"},
    "aiohttp": {"http", "socketio"},
    "zmq": {"workers", "keys", "gateway.security.worker_keys"},
    "supervisor": {"provisioning"},
    "xmlrpc": {"provisioning"},
    "yaml": {"storage"},
    "sqlite3": {"storage"},
    "prometheus_client": {"observability"},
}
"""Each library, and the packages or modules of `gateway/` that may use it."""

PURE = (
    "workers.fleet", "workers.worker", "workers.handshake", "workers.untrusted_values",
    "scheduling.placement", "scheduling.policy", "scheduling.queue", "scheduling.circuit_breaker",
    "scheduling.quarantine", "scheduling.notices", "scheduling.turns", "scheduling.actions",
    "scheduling.preemption", "scheduling.model_queue", "scheduling.limits",
    "scheduling.fair_queue", "scheduling.affinity", "scheduling.room",
    "scheduling.worker_choice", "scheduling.idle_limit", "scheduling.asleep", "scheduling.census",
    "scheduling.shortage", "scheduling.departures",
    "scheduling.wait_notices",
    "inference.state", "inference.plan", "inference.outcomes", "inference.listener",
    "sessions.discussion", "sessions.retention", "sessions.pacing",
    "personalities.personality", "personalities.prompts",
    "models.listing", "storage.state", "validation", "errors",
    "socketio.payloads", "socketio.packets", "socketio.encoder", "socketio.replies",
    "socketio.frame_filter",
)  # fmt: skip
"""Modules without event loop, clock, socket, file or log: tested by plain calls."""


@dataclass(frozen=True)
class Module:
    path: Path
    """Relative to the checkout."""
    source: str = field(repr=False)

    @property
    def name(self) -> str:
        """Dotted; a package's `__init__` has the package's name."""
        return ".".join(self.path.with_suffix("").parts).removesuffix(".__init__")

    @property
    def box(self) -> str:
        return box(self.name)

    @property
    def lines(self) -> int:
        return len(self.source.splitlines())

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @cached_property
    def imports(self) -> set[str]:
        """Dotted names of modules; `from package import module` is the module."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if _is_module(inner) else node.module)
        return found

    def names_from(self, module: str) -> set[str]:
        """What is imported from the module by name."""
        return {
            alias.name
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom) and node.module == module
            for alias in node.names
        }


def box(name: str) -> str:
    """The package of `gateway/`, or the module on top of it, that has this dotted name."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def modules(program: str) -> list[Module]:
    """All of it but the empty room `gateway/__init__.py`."""
    paths = sorted((ROOT / program).rglob("*.py"))
    found = [Module(path.relative_to(ROOT), path.read_text()) for path in paths]
    return [each for each in found if each.name != "gateway"]


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()
