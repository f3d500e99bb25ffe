"""Compute the gradient of one step in parallel: one pack per thread, one thread per core.

Threads that each compute a whole pack on one core are faster than all cores on one pack: small
matrices parallelise badly, and another process that takes a core delays only one thread.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from embedded_model.encoding import IGNORED
from embedded_model.feed import Batch
from embedded_model.model import Pebble


class GradientThreads:
    """Threads that share a model; `close` ends them."""

    def __init__(self, model: Pebble, device: torch.device, threads: int) -> None:
        self.model = model
        self.device = device
        self.threads = 1 if device.type == "cuda" else threads
        self.parameters = list(model.parameters())
        self.pool = ThreadPoolExecutor(
            self.threads, initializer=torch.set_num_threads, initargs=(1,)
        )

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()

    def gradient(self, packs: list[Batch]) -> float:
        """Set the parameters' `grad` for the packs' mean weighted loss; returns the loss."""
        weight = sum(float(weights.sum()) for _, _, weights in packs)
        left = list(packs)  # the longest first, so that the threads finish together
        shares = [self.pool.submit(self._work, left, weight) for _ in range(self.threads)]
        results = [share.result() for share in shares]
        sums: list[Tensor] | None = None
        for _, grads in results:
            if sums is None:
                sums = grads
            elif grads:
                torch._foreach_add_(sums, grads) if sums else sums.extend(grads)
        for parameter, grad in zip(self.parameters, sums or [], strict=True):
            parameter.grad = grad
        return sum(loss for loss, _ in results) / weight

    def _work(self, left: list[Batch], weight: float) -> tuple[float, list[Tensor]]:
        total, sums = 0.0, list[Tensor]()
        while True:
            try:
                batch = left.pop()
            except IndexError:
                return total, sums
            loss = self._loss(batch)
            grads = torch.autograd.grad(loss / weight, self.parameters)
            if sums:
                torch._foreach_add_(sums, grads)
            else:
                sums = list(grads)
            total += float(loss.detach())

    def _loss(self, batch: Batch) -> Tensor:
        """The weighted loss of a pack, summed."""
        ids, labels, weights = (t.to(self.device) for t in batch)
        asked = labels.flatten() != IGNORED
        with torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False):
            states = self.model.stream(ids).flatten(0, 1)[asked]
            scores = self.model.logits(states)
        each = F.cross_entropy(scores.float(), labels.flatten()[asked], reduction="none")
        return (each * weights.flatten()[asked]).sum()
