"""Save and load training checkpoints, for resuming and for export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from embedded_model.model import Pebble, Shape


def save(
    path: Path, model: Pebble, optimizers: list[torch.optim.Optimizer], progress: dict[str, Any]
) -> None:
    """Write the whole checkpoint atomically."""
    state = {
        "shape": asdict(model.shape),
        "weights": model.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "progress": progress,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load(path: Path) -> tuple[Pebble, dict[str, Any]]:
    """The model, and the whole stored state, which a resumed training needs."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    model = Pebble(Shape(**state["shape"]))
    model.load_state_dict(state["weights"])
    return model, state
