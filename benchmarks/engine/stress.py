"""Does the engine ever stand still? `python -m benchmarks.engine.stress`

A real worker is asked by many at once, prompts and answers of all lengths, many of them
cancelled, and loads the model anew every ten seconds with another number of prompt
tokens a step. Nobody may wait long for a token, and who is not cancelled gets all of them.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import aclosing
from pathlib import Path

from benchmarks.engine.measures import Prompts
from benchmarks.engine.our_servers import Worker
from benchmarks.peer_builds import cache
from benchmarks.random_model import Shape, write

CHUNKS = (1, 3, 16, 64, 128, 128, 500)
SLOTS, CONTEXT, USERS = 8, 2048, 24
SHIFT = 10.0
"""Seconds with one chunk."""
PATIENCE = 30.0
"""Seconds without a token, all the queue before it included: more is a hang."""


async def use(worker: Worker, prompts: Prompts, draw: random.Random, end: float) -> Counter[str]:
    """One who asks, and now and then has enough."""
    seen: Counter[str] = Counter()
    while time.monotonic() < end:
        count = draw.randint(1, 60)
        enough = draw.choice([count, count, draw.randint(0, count)])
        prompt = prompts.make(int(2 ** draw.uniform(1, 10.5)))
        came = 0
        async with aclosing(worker.generate(prompt, count)) as tokens:
            while came < enough or enough == count:
                try:
                    came += await asyncio.wait_for(anext(tokens), PATIENCE)
                except StopAsyncIteration:
                    break
                except TimeoutError:
                    raise SystemExit(
                        f"no token in {PATIENCE:g} s, {came} of {count} came"
                    ) from None
        seen["whole" if came == count else "cancelled"] += 1
        seen["tokens"] += came
        if enough == count != came:
            raise SystemExit(f"{came} tokens instead of {count}")
    return seen


async def stress(model: Path, seconds: float, seed: int) -> Counter[str]:
    draw = random.Random(seed)
    seen: Counter[str] = Counter()
    prompts = Prompts(model)
    with tempfile.TemporaryDirectory(prefix="lollms-") as home:
        async with Worker(model, Path(home), slots=SLOTS, context=CONTEXT, threads=1) as worker:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                chunk = draw.choice(CHUNKS)
                print(f"{max(0, end - time.monotonic()):.0f} s left, chunks of {chunk}: "
                      f"{dict(seen)}", file=sys.stderr)  # fmt: skip
                await worker.load(chunk=chunk)
                seen["loads"] += 1
                shift = min(end, time.monotonic() + SHIFT)
                users = (
                    use(worker, prompts, random.Random(draw.random()), shift) for _ in range(USERS)
                )
                for each in await asyncio.gather(*users):
                    seen += each
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine.stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    model = cache() / "random-tiny.gguf"
    if not model.exists():
        write(model, Shape())
    seen = asyncio.run(stress(model, options.seconds, options.seed))
    print(", ".join(f"{count} {what}" for what, count in seen.items()), "and no hang")


if __name__ == "__main__":
    main()
