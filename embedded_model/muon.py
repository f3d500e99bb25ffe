"""Muon, the optimizer of the hidden matrices: momentum made orthogonal by Newton-Schulz."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Any

import torch
from torch import Tensor

STACK = 5  # matrices that are updated together


def orthogonalised(g: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz on a stack of matrices (n, rows, columns), rows ≤ columns.

    The quintic polynomial and its coefficients are Keller Jordan's.
    """
    x = g.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised: all singular values become about one.

    The executor updates stacks of matrices of one shape in parallel.
    """

    def __init__(
        self, params: Iterable[Tensor], executor: Executor, lr: float, momentum: float, decay: float
    ) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "decay": decay})
        self.executor = executor

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of all matrices; each has a gradient."""
        for group in self.param_groups:
            stacks = [(group, stack) for stack in _stacks(group["params"])]
            list(self.executor.map(lambda job: self._step_stack(*job), stacks))

    @torch.no_grad()
    def _step_stack(self, group: dict[str, Any], params: list[Tensor]) -> None:
        updates = []
        for p in params:
            assert p.grad is not None
            state = self.state[p]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(p.grad, 1 - group["momentum"])
            updates.append(p.grad.lerp(state["momentum"], group["momentum"]))
        rows, columns = params[0].shape
        stack = torch.stack([u.mT if rows > columns else u for u in updates])
        scale = max(1.0, rows / columns) ** 0.5
        for p, update in zip(params, orthogonalised(stack), strict=True):
            p.mul_(1 - group["lr"] * group["decay"])
            p.add_(
                (update.mT if rows > columns else update).to(p.dtype), alpha=-group["lr"] * scale
            )


def _stacks(params: list[Tensor]) -> Iterator[list[Tensor]]:
    shapes: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
    for p in params:
        shapes[tuple(p.shape)].append(p)
    for same in shapes.values():
        for start in range(0, len(same), STACK):
            yield same[start : start + STACK]
