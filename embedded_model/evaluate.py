"""Evaluate a GGUF file with held-out questions, answered greedily, beside the targets."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from embedded_model import questions
from embedded_model.shipped import SHIPPED
from embedded_model.speak import GreedyGenerator
from embedded_model.text.unknown import MARKS, MARKS_FRENCH


@dataclass
class Score:
    """The counts of one row of the table."""

    asked: int = 0
    right: int = 0
    stopped: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)


def ask_all(generator: GreedyGenerator, count: int, seed: int, only: str) -> dict[str, Score]:
    """Ask `count` held-out questions of each row whose name contains `only`."""
    scores: dict[str, Score] = defaultdict(Score)
    for row in questions.ROWS:
        if only not in row.name:
            continue
        score = scores[row.name]
        for index in range(count):
            script = row.make(Random(f"{seed}/{row.name}/{index}"))
            _hold(generator, script, score)
        done = f"{row.name:45} {score.right:3}/{score.asked}"
        print(done, file=sys.stderr, flush=True)
    return dict(scores)


def _hold(generator: GreedyGenerator, script: questions.Script, score: Score) -> None:
    """Hold one conversation, with the model's own earlier answers; turns with a judge count."""
    past: list[tuple[str, str]] = []
    for turn in script.turns:
        prompt = script.form.prompt(script.system, past, turn.question)
        answer = generator.answer(prompt)
        past.append((turn.question, answer.text))
        if turn.judge is None:
            continue
        score.asked += 1
        score.stopped += answer.stopped
        score.refused += any(mark in answer.text for mark in (*MARKS, *MARKS_FRENCH))
        if turn.judge(answer.text):
            score.right += 1
        else:
            score.failures.append(f"[{script.form.name}] {turn.question!r} -> {answer.text!r}")


def _line(name: str, asked: int, right: int, target: str) -> str:
    return f"| {name} | {asked} | {100 * right / asked:.1f} % | {target} |"


def table(scores: dict[str, Score]) -> Iterator[str]:
    """The table of the model card, line by line."""
    yield "| task | held-out questions | right | target |"
    yield "|---|---|---|---|"
    known_asked = known_refused = asked = stopped = 0
    for row in questions.ROWS:
        if row.name not in scores:
            continue
        score = scores[row.name]
        yield _line(row.name, score.asked, score.right, row.target)
        asked, stopped = asked + score.asked, stopped + score.stopped
        if not row.unknowable:
            known_asked, known_refused = known_asked + score.asked, known_refused + score.refused
    if known_asked:
        yield _line("wrongly refused, of all that it can", known_asked, known_refused, "≤ 2 %")
    yield _line("stops by itself within 256 tokens", asked, stopped, "≥ 99 %")


def main() -> None:
    """python -m embedded_model.evaluate"""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--count", type=int, default=50, help="conversations per task")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="only tasks whose name contains this")
    parser.add_argument(
        "--failures", type=int, default=0, help="print so many wrong answers per task"
    )
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    options = parser.parse_args()
    scores = ask_all(
        GreedyGenerator(options.model, options.threads), options.count, options.seed, options.only
    )
    for name, score in scores.items():
        for failure in score.failures[: options.failures]:
            print(f"{name}: {failure}")
    print("\n".join(table(scores)))
    if options.json:
        counts = {name: [s.asked, s.right, s.stopped, s.refused] for name, s in scores.items()}
        options.json.write_text(json.dumps(counts, indent=1), "utf-8")


if __name__ == "__main__":
    main()
