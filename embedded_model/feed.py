"""Training batches: new conversations, sorted by length and packed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import torch
from tokenizers import Tokenizer
from torch import Tensor

from embedded_model.encoding import IGNORED, Sample, encode
from embedded_model.text.dialogue import converse

Batch = tuple[Tensor, Tensor, Tensor]


def samples(tokenizer: Tokenizer, seed: int, start: int, context: int) -> Iterator[Sample]:
    """The training samples from conversation `start` on; no conversation repeats."""
    index = start
    while True:
        yield encode(tokenizer, converse(Random(f"{seed}/{index}")), context)
        index += 1


def pack(group: list[Sample]) -> Batch:
    """Samples of similar length side by side: ids, labels and weights, each (samples, longest)."""
    longest = max(len(s.ids) for s in group)
    ids = torch.zeros(len(group), longest, dtype=torch.long)
    labels = torch.full((len(group), longest), IGNORED, dtype=torch.long)
    weights = torch.zeros(len(group), longest)
    for row, s in enumerate(group):
        ids[row, : len(s.ids)] = torch.tensor(s.ids)
        labels[row, : len(s.labels)] = torch.tensor(s.labels)
        weights[row, : len(s.weights)] = torch.tensor(s.weights)
    return ids, labels, weights


def batches(source: Iterator[Sample], tokens: int, micro: int) -> tuple[list[Batch], int, int]:
    """Packs of at most `micro` tokens for one step, and the number of its tokens and samples."""
    drawn: list[Sample] = []
    while sum(len(s.ids) for s in drawn) < tokens:
        drawn.append(next(source))
    drawn.sort(key=lambda s: len(s.ids))
    packs: list[list[Sample]] = [[]]
    for s in drawn:
        if packs[-1] and (len(packs[-1]) + 1) * len(s.ids) > micro:
            packs.append([])
        packs[-1].append(s)
    return [pack(p) for p in packs], sum(len(s.ids) for s in drawn), len(drawn)
