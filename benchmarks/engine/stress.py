"""Stress test of the engine: many random requests and cancels must not cause a hang.

Many users send requests to a real worker, with prompts and answers of all lengths, and
cancel many of them. Every ten seconds the worker loads the model again with another chunk
size. No user may wait long for a token, and a request that is not cancelled gets all.
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
LOAD_SECONDS = 10.0
"""Seconds with one chunk size."""
PATIENCE = 30.0
"""Seconds to wait for a token, including the time in the queue; more is a hang."""


async def simulate_user(
    worker: Worker, prompts: Prompts, draw: random.Random, end: float
) -> Counter[str]:
    """Send requests until `end`, and cancel some of them."""
    seen: Counter[str] = Counter()
    while time.monotonic() < end:
        count = draw.randint(1, 60)
        wanted = draw.choice([count, count, draw.randint(0, count)])
        prompt = prompts.make(int(2 ** draw.uniform(1, 10.5)))
        received = 0
        async with aclosing(worker.generate(prompt, count)) as tokens:
            while received < wanted or wanted == count:
                try:
                    received += await asyncio.wait_for(anext(tokens), PATIENCE)
                except StopAsyncIteration:
                    break
                except TimeoutError:
                    raise SystemExit(
                        f"no token in {PATIENCE:g} s, {received} of {count} received"
                    ) from None
        seen["complete" if received == count else "cancelled"] += 1
        seen["tokens"] += received
        if wanted == count != received:
            raise SystemExit(f"{received} tokens instead of {count}")
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
                until = min(end, time.monotonic() + LOAD_SECONDS)
                users = (
                    simulate_user(worker, prompts, random.Random(draw.random()), until)
                    for _ in range(USERS)
                )
                for each in await asyncio.gather(*users):
                    seen += each
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine.stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="duration")
    parser.add_argument("--seed", type=int, default=1, help="determines requests and chunk sizes")
    options = parser.parse_args()
    model = cache() / "random-tiny.gguf"
    if not model.exists():
        write(model, Shape())
    seen = asyncio.run(stress(model, options.seconds, options.seed))
    print(", ".join(f"{count} {what}" for what, count in seen.items()), "and no hang")


if __name__ == "__main__":
    main()
