"""How is Pebble trained? On endless generated conversations, for as many minutes as one gives it."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import FrameType

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from embedded_model import checkpoint, tokenizer as bpe
from embedded_model.encoding import IGNORED, Sample, encode
from embedded_model.model import Pebble, Shape
from embedded_model.muon import Muon
from embedded_model.text.dialogue import converse

Batch = tuple[Tensor, Tensor, Tensor]


def samples(tokenizer: Tokenizer, seed: int, start: int, context: int) -> Iterator[Sample]:
    """The training text from conversation `start` on; every conversation is new."""
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
    """One step's samples, sorted by length into packs of at most `micro` places; their tokens and number."""
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


def speed(done: float) -> float:
    """The share of the learning rate after the share `done` of the time: a short rise, a long fall."""
    return min(1.0, done / 0.02 + 0.02) * min(1.0, max(0.0, 1 - done) / 0.65 + 0.01)


def optimizers_of(model: Pebble, muon: float, adam: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the embedding and the norms."""
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and not n.startswith("embedding")]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or n.startswith("embedding")]
    return [Muon(hidden, lr=muon, decay=0.02), torch.optim.AdamW(others, lr=adam, betas=(0.9, 0.98), weight_decay=0.0)]


class Training:
    """A model, its optimizers and the minutes it has had."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.path: Path = options.folder / "pebble.pt"
        self.tokenizer = Tokenizer.from_file(str(options.folder / "tokenizer.json"))
        self.steps, self.drawn, self.tokens, self.seconds = 0, 0, 0, 0.0
        self.model = Pebble(Shape(vocabulary=self.tokenizer.get_vocab_size()))
        state = None
        if options.resume and self.path.exists():
            self.model, state = checkpoint.load(self.path)
            progress = state["progress"]
            self.steps, self.drawn, self.tokens, self.seconds = (progress[k] for k in ("steps", "drawn", "tokens", "seconds"))
        self.model.to(self.device)
        self.optimizers = optimizers_of(self.model, options.muon, options.adam)
        if state:
            for optimizer, old in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(old)
        self.rates = [options.muon, options.adam]
        self.stream = torch.compile(self.model.stream, dynamic=True) if options.compile else self.model.stream

    def save(self) -> None:
        """Keep what there is; `--resume` goes on from it."""
        progress = {"steps": self.steps, "drawn": self.drawn, "tokens": self.tokens, "seconds": self.seconds}
        checkpoint.save(self.path, self.model, self.optimizers, progress)

    def loss(self, batch: Batch) -> tuple[Tensor, float]:
        """The weighted loss of a pack, summed, and its weight."""
        ids, labels, weights = (t.to(self.device) for t in batch)
        asked = labels.flatten() != IGNORED
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            states = self.stream(ids).flatten(0, 1)[asked]
            scores = self.model.logits(states)
        each = F.cross_entropy(scores.float(), labels.flatten()[asked], reduction="none")
        weighed = weights.flatten()[asked]
        return (each * weighed).sum(), float(weighed.sum())

    def step(self, source: Iterator[Sample], done: float) -> float:
        """One update; its mean loss."""
        packs, tokens, drawn = batches(source, self.options.batch, self.options.micro)
        weight = sum(float(p[2].sum()) for p in packs)
        total = 0.0
        for batch in packs:
            loss, _ = self.loss(batch)
            (loss / weight).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * speed(done)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps, self.drawn, self.tokens = self.steps + 1, self.drawn + drawn, self.tokens + tokens
        return total / weight

    def run(self) -> None:
        """Train until the minutes are over or a signal comes; save either way."""
        stopped: list[int] = []

        def stop(number: int, frame: FrameType | None) -> None:
            stopped.append(number)

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        budget = self.options.minutes * 60
        source = samples(self.tokenizer, self.options.seed, self.drawn, self.model.shape.context)
        last = saved = time.monotonic()
        mean = 0.0
        while self.seconds < budget and not stopped:
            loss = self.step(source, self.seconds / budget)
            share = min(1.0, self.options.batch / 160_000)  # the mean of the last 160,000 tokens or so
            mean = loss if mean == 0.0 else (1 - share) * mean + share * loss
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if self.steps % 20 == 0:
                print(
                    f"{self.seconds / 60:6.1f} of {budget / 60:.0f} min  step {self.steps:5}  loss {mean:.4f}  "
                    f"{self.tokens / 1e6:.2f} M tokens  {self.tokens / self.seconds:.0f} tokens/s", flush=True,
                )  # fmt: skip
            if now - saved > 60:
                saved = now
                self.save()
        self.save()
        print(f"saved {self.path} after {self.steps} steps, {self.tokens} tokens")


def main() -> None:
    """python -m embedded_model.train"""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="wall clock in all, earlier parts of a resumed training included")
    parser.add_argument("--folder", type=Path, default=Path("build/pebble"), help="where tokenizer and checkpoint are")
    parser.add_argument("--resume", action="store_true", help="go on with the checkpoint of the folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8192, help="tokens a step")
    parser.add_argument("--micro", type=int, default=1024, help="tokens a pack")
    parser.add_argument("--muon", type=float, default=0.02, help="learning rate of the hidden matrices")
    parser.add_argument("--adam", type=float, default=0.003, help="learning rate of the embedding and the norms")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's default")
    parser.add_argument("--compile", action="store_true", help="torch.compile, a fifth faster where there is a C++ compiler")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "tokenizer.json").exists():
        print("learning the tokenizer", flush=True)
        bpe.learn(Shape().vocabulary, 40000).save(str(options.folder / "tokenizer.json"))
    Training(options).run()


if __name__ == "__main__":
    main()
