"""Train Pebble on an endless stream of generated conversations, for a given time."""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch
from tokenizers import Tokenizer

from embedded_model import checkpoint
from embedded_model import tokenizer as bpe
from embedded_model.encoding import Sample
from embedded_model.feed import batches, samples
from embedded_model.gradients import GradientThreads
from embedded_model.model import Pebble, Shape
from embedded_model.muon import Muon


def schedule(done: float) -> float:
    """The factor of the learning rate after `done` of the time: a short rise, a long fall."""
    return min(1.0, done / 0.02 + 0.02) * min(1.0, max(0.0, 1 - done) / 0.65 + 0.01)


def optimizers_of(
    model: Pebble, threads: GradientThreads, muon: float, adam: float
) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for the embedding and the norms."""
    hidden = [
        p for n, p in model.named_parameters() if p.ndim == 2 and not n.startswith("embedding")
    ]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or n.startswith("embedding")]
    return [
        Muon(hidden, threads.pool, lr=muon, momentum=0.95, decay=0.02),
        torch.optim.AdamW(others, lr=adam, betas=(0.9, 0.98), weight_decay=0.0),
    ]


class Training:
    """A model, its optimizers and its progress."""

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
            self.steps, self.drawn, self.tokens, self.seconds = (
                progress[k] for k in ("steps", "drawn", "tokens", "seconds")
            )
        self.model.to(self.device)
        self.gradients = GradientThreads(self.model, self.device, options.threads)
        self.optimizers = optimizers_of(self.model, self.gradients, options.muon, options.adam)
        if state:
            for optimizer, old in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(old)
        self.rates = [options.muon, options.adam]

    def save(self) -> None:
        """Write a checkpoint, from which `--resume` continues."""
        progress = {
            "steps": self.steps,
            "drawn": self.drawn,
            "tokens": self.tokens,
            "seconds": self.seconds,
        }
        checkpoint.save(self.path, self.model, self.optimizers, progress)

    def step(self, source: Iterator[Sample], done: float) -> float:
        """One update; returns its mean loss."""
        packs, tokens, drawn = batches(source, self.options.batch, self.options.micro)
        loss = self.gradients.gradient(packs)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(done)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps, self.drawn, self.tokens = (
            self.steps + 1,
            self.drawn + drawn,
            self.tokens + tokens,
        )
        return loss

    def run(self) -> None:
        """Train until the time is over or a signal arrives; saves in both cases."""
        stopped: list[int] = []

        def stop(number: int, frame: FrameType | None) -> None:
            stopped.append(number)

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        budget = self.options.minutes * 60
        source = samples(self.tokenizer, self.options.seed, self.drawn, self.model.shape.context)
        last = saved = printed = time.monotonic()
        mean = 0.0
        while self.seconds < budget and not stopped:
            loss = self.step(source, self.seconds / budget)
            share = min(1.0, self.options.batch / 160_000)  # of the last 160,000 tokens or so
            mean = loss if mean == 0.0 else (1 - share) * mean + share * loss
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if now - printed > 15:
                printed = now
                print(
                    f"{self.seconds / 60:6.1f} of {budget / 60:.0f} min  step {self.steps:5}  "
                    f"loss {mean:.4f}  {self.tokens / 1e6:.2f} M tokens  "
                    f"{self.tokens / self.seconds:.0f} tokens/s",
                    flush=True,
                )
            if now - saved > 60:
                saved = now
                self.save()
        self.gradients.close()
        self.save()
        print(f"saved {self.path} after {self.steps} steps, {self.tokens} tokens")


def main() -> None:
    """python -m embedded_model.train"""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=60,
        help="wall clock time in total, including earlier parts of a resumed training",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("build/pebble"),
        help="folder with tokenizer and checkpoint",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint in the folder"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4096, help="tokens per step")
    parser.add_argument("--micro", type=int, default=512, help="tokens per pack")
    parser.add_argument(
        "--muon", type=float, default=0.02, help="learning rate of the hidden matrices"
    )
    parser.add_argument(
        "--adam", type=float, default=0.006, help="learning rate of the embedding and the norms"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    torch.set_num_threads(1)  # GradientThreads has its own threads
    torch.manual_seed(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "tokenizer.json").exists():
        print("learning the tokenizer", flush=True)
        bpe.learn(Shape().vocabulary, 40000).save(str(options.folder / "tokenizer.json"))
    Training(options).run()


if __name__ == "__main__":
    main()
