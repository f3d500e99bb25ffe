"""Does anybody notice when things break? `python -m benchmarks.chaos`

Starts the project's own supervised server in a temporary home, lets users generate all the
time, and breaks something every two seconds, in an order that the seed decides. Everybody
must get exactly their own text, once, and one end for each request. Exit status 1 when not.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from benchmarks.chaos.faults import FAULTS, Hit, World, descriptors, resident
from benchmarks.chaos.users import Oracle, Run, Task, User
from benchmarks.end_to_end import Server

ECHO = [
    Task("echo", "lorem-10ms", "x", tokens, seed) for tokens in (20, 60, 150) for seed in (1, 2)
]
PEBBLE = [
    Task("llama_cpp", "pebble-f16.gguf", "Tell me a story about a lamp.\n", 80, 3),
    Task("llama_cpp", "pebble-f16.gguf", "Count from 3 to 20.\n", 60, 4),
]
STALL_LIMIT = 1.0
SETTLE = 15.0
"""Seconds that the last requests get to end."""


class Growth:
    """Of the gateway: memory and descriptors, once a second."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.seen: list[tuple[float, int, int]] = []

    async def watch(self) -> None:
        while True:
            self.seen.append((time.monotonic(), resident(self.pid), descriptors(self.pid)))
            await asyncio.sleep(1)

    def slopes(self) -> tuple[float, float]:
        """KiB and descriptors a minute, over the later half: what starts has started."""
        later = self.seen[len(self.seen) // 2 :]
        times = [at / 60 for at, _, _ in later]
        return (
            statistics.linear_regression(times, [size / 1024 for _, size, _ in later]).slope,
            statistics.linear_regression(times, [float(n) for _, _, n in later]).slope,
        )


async def learn(port: int, oracle: Oracle) -> None:
    """What the texts are while nothing breaks."""
    for tasks in (ECHO, PEBBLE):
        user = User(port, oracle, tasks, "")
        await user.come()
        for task in tasks:
            run = await user.ask(task)
            assert run.ends[0][1] == "text_generated", run.ends
            oracle.expected[task] = "".join(run.text)
        await user.leave()


async def disturb(world: World, options: argparse.Namespace) -> Counter[str]:
    """Every fault once, in an order by chance, before any comes again."""
    done: Counter[str] = Counter()
    left: list[str] = []
    wanted = sorted(name for name in FAULTS if options.only in name)
    end = time.monotonic() + options.seconds
    while (began := time.monotonic()) < end:
        if not left:
            left = world.draw.sample(wanted, len(wanted))
        name = left.pop()
        await FAULTS[name](world)
        done[name] += 1
        await asyncio.sleep(max(0.0, began + options.period - time.monotonic()))
    return done


def told_and_served(hits: list[Hit], runs: list[Run]) -> tuple[list[float], list[float]]:
    """Seconds from a worker's end to what its users saw of it: the error, and the first chunk
    after it, be it of the next answer or of the same one that went on."""
    told, served = [], []
    for hit in hits:
        mine = [run for run in runs if run.task.binding == hit.binding]
        struck = [r for r in mine if r.times and r.times[0] < hit.at < r.ends[0][0]]
        told += [run.ends[0][0] - hit.at for run in struck if run.ends[0][1] == "generation_error"]
        for run in struck:
            if run.ends[0][1] == "generation_error":
                after = [r.times[0] for r in mine if r.times and r.asked > run.ends[0][0]]
            else:
                gap = max(zip(run.times, run.times[1:], strict=False), key=lambda p: p[1] - p[0])
                after = [gap[1]] if gap[0] < hit.at + 1 and gap[1] > hit.at else []
            served += [min(after) - hit.at] if after else []
    return told, served


def percentile(values: list[float]) -> str:
    if not values:
        return "none"
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{p95:.3f} s (p95 of {len(ordered)}, median {statistics.median(ordered):.3f} s)"


async def chaos(server: Server, options: argparse.Namespace) -> bool:
    oracle = Oracle()
    world = World(server, oracle, Random(options.seed))
    await learn(server.port, oracle)
    gateway = (await world.status())["pid"]
    growth = Growth(gateway)
    users = [User(server.port, oracle, ECHO, f"{options.seed}/{n}") for n in range(options.users)]
    users += [User(server.port, oracle, PEBBLE, "alone")]
    for user in users:
        await user.come()
    watching = asyncio.create_task(growth.watch())
    working = [asyncio.create_task(user.work()) for user in users]
    done = await disturb(world, options)
    for user in users:
        user.leaving = True
    _, late = await asyncio.wait(working, timeout=SETTLE)
    oracle.wrong["never answered"] += len(late)
    for task in [*late, watching]:
        task.cancel()
    for user in users:
        await user.leave()
    for task in working:
        if not task.cancelled() and task.done() and (error := task.exception()):
            raise error
    await learn(server.port, again := Oracle())
    oracle.wrong["another text"] += sum(
        oracle.expected[task] != text for task, text in again.expected.items()
    )
    status = await world.status()
    oracle.wrong["another gateway"] += status["pid"] != gateway
    report(oracle, world.hits, done, growth, status["restarts"])
    return not any(oracle.wrong.values())


def report(
    oracle: Oracle, hits: list[Hit], done: Counter[str], growth: Growth, restarts: dict[str, int]
) -> None:
    print("\n| fault | times |\n|---|---|")
    for name, times in sorted(done.items()):
        print(f"| {name} | {times} |")
    print("\n| figure | |\n|---|---|")
    for kind in ("killed", "frozen"):
        told, served = told_and_served([h for h in hits if h.kind == kind], oracle.runs)
        print(f"| worker {kind}: error told after | {percentile(told)} |")
        print(f"| worker {kind}: next chunk after | {percentile(served)} |")
    ends = ", ".join(f"{count} {name}" for name, count in sorted(oracle.counts.items()))
    print(f"| requests ended | {ends} |")
    print(f"| workers restarted | {', '.join(f'{n} {why}' for why, n in restarts.items())} |")
    for what in ("chunks lost", "chunks doubled", "chunks of another", "another text"):
        print(f"| {what} | {oracle.wrong[what]} |")
    for what in ("never answered", "more than one end", "another gateway"):
        print(f"| {what} | {oracle.wrong[what]} |")
    memory, files = growth.slopes()
    print(f"| gateway's memory, later half | {memory:+.0f} KiB a minute |")
    print(f"| gateway's descriptors, later half | {files:+.1f} a minute |", flush=True)
    for example in oracle.examples:
        print(example, file=sys.stderr)


def main() -> None:
    """Exit status 0 when everybody got what was theirs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long things break")
    parser.add_argument("--period", type=float, default=2, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and their order")
    parser.add_argument("--only", default="", help="faults whose name contains this, as SIGKILL")
    parser.add_argument("--users", type=int, default=6, help="of the binding echo")
    parser.add_argument(
        "--no-continue", action="store_true", help="answers end with the worker that they are in"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        Path(home, "config.yaml").write_text("bindings: {faulty: {}}\n")
        server = Server(
            Path(home), "echo", "lorem-10ms", stall_limit=str(STALL_LIMIT),
            **({"no_continue": "yes"} if options.no_continue else {}),
        )  # fmt: skip
        print(json.dumps(vars(options)), flush=True)
        with server.running():
            right = asyncio.run(chaos(server, options))
    raise SystemExit(0 if right else 1)


if __name__ == "__main__":
    main()
