"""How are hidden matrices updated? Muon: momentum whose singular values are all made about one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def orthogonalised(g: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz on a stack of matrices (n, rows, columns), rows ≤ columns (Keller Jordan's quintic)."""
    x = g.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; matrices of one shape are done as one stack."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.0) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of all matrices that have a gradient."""
        for group in self.param_groups:
            stacks: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    stacks[tuple(p.shape)].append(p)
            for shape, params in stacks.items():
                self._step_stack(group, shape, params)

    def _step_stack(self, group: dict[str, Any], shape: tuple[int, ...], params: list[Tensor]) -> None:
        updates = []
        for p in params:
            assert p.grad is not None
            state = self.state[p]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(p.grad, 1 - group["momentum"])
            updates.append(p.grad.lerp(state["momentum"], group["momentum"]))
        stack = torch.stack(updates)
        rows, columns = shape
        flat = orthogonalised(stack.mT if rows > columns else stack)
        turned = flat.mT if rows > columns else flat
        scale = max(1.0, rows / columns) ** 0.5
        for p, update in zip(params, turned, strict=True):
            p.mul_(1 - group["lr"] * group["decay"])
            p.add_(update.to(p.dtype), alpha=-group["lr"] * scale)
