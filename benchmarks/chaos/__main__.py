"""Inject faults into a running server under load, and check that users are not affected.

Starts the supervised server in a temporary home. Users generate continuously while a
fault is injected every two seconds, in an order given by the seed. Each user must receive
exactly the right text, once, and one end per request. Otherwise the exit status is 1.
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

from benchmarks.chaos.faults import FAULTS, FaultInjector, WorkerFault, descriptors, resident
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
"""Seconds in which the last requests must end."""


class ResourceUsage:
    """The gateway's memory and file descriptors, sampled once a second."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.samples: list[tuple[float, int, int]] = []

    async def watch(self) -> None:
        while True:
            self.samples.append((time.monotonic(), resident(self.pid), descriptors(self.pid)))
            await asyncio.sleep(1)

    def slopes(self) -> tuple[float, float]:
        """Growth in KiB and in descriptors per minute, over the second half, after the start."""
        later = self.samples[len(self.samples) // 2 :]
        times = [at / 60 for at, _, _ in later]
        return (
            statistics.linear_regression(times, [size / 1024 for _, size, _ in later]).slope,
            statistics.linear_regression(times, [float(n) for _, _, n in later]).slope,
        )


async def record_expected(port: int, oracle: Oracle) -> None:
    """Generate all tasks without faults, and store their texts in the oracle."""
    for tasks in (ECHO, PEBBLE):
        user = User(port, oracle, tasks, "")
        await user.connect()
        for task in tasks:
            run = await user.generate(task)
            assert run.ends[0][1] == "text_generated", run.ends
            oracle.expected[task] = "".join(run.text)
        await user.disconnect()


async def inject_faults(injector: FaultInjector, options: argparse.Namespace) -> Counter[str]:
    """Inject faults until the time is over: all in random order before any repeats."""
    done: Counter[str] = Counter()
    left: list[str] = []
    wanted = sorted(name for name in FAULTS if options.only in name)
    end = time.monotonic() + options.seconds
    while (began := time.monotonic()) < end:
        if not left:
            left = injector.random.sample(wanted, len(wanted))
        name = left.pop()
        await FAULTS[name](injector)
        done[name] += 1
        await asyncio.sleep(max(0.0, began + options.period - time.monotonic()))
    return done


def recovery_times(faults: list[WorkerFault], runs: list[Run]) -> tuple[list[float], list[float]]:
    """Seconds from a worker's end to the error, and to the next chunk that a user received: of
    the next answer, or of the same one if it continued."""
    errors, next_chunks = [], []
    for fault in faults:
        same_binding = [run for run in runs if run.task.binding == fault.binding]
        hit = [r for r in same_binding if r.times and r.times[0] < fault.at < r.ends[0][0]]
        errors += [r.ends[0][0] - fault.at for r in hit if r.ends[0][1] == "generation_error"]
        for run in hit:
            if run.ends[0][1] == "generation_error":
                after = [r.times[0] for r in same_binding if r.times and r.sent > run.ends[0][0]]
            else:
                gap = max(zip(run.times, run.times[1:], strict=False), key=lambda p: p[1] - p[0])
                after = [gap[1]] if gap[0] < fault.at + 1 and gap[1] > fault.at else []
            next_chunks += [min(after) - fault.at] if after else []
    return errors, next_chunks


def percentile(values: list[float]) -> str:
    if not values:
        return "none"
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{p95:.3f} s (p95 of {len(ordered)}, median {statistics.median(ordered):.3f} s)"


async def chaos(server: Server, options: argparse.Namespace) -> bool:
    oracle = Oracle()
    injector = FaultInjector(server, oracle, Random(options.seed))
    await record_expected(server.port, oracle)
    gateway = (await injector.status())["pid"]
    usage = ResourceUsage(gateway)
    users = [User(server.port, oracle, ECHO, f"{options.seed}/{n}") for n in range(options.users)]
    users += [User(server.port, oracle, PEBBLE, "alone")]
    for user in users:
        await user.connect()
    watching = asyncio.create_task(usage.watch())
    working = [asyncio.create_task(user.work()) for user in users]
    done = await inject_faults(injector, options)
    for user in users:
        user.stopping = True
    _, late = await asyncio.wait(working, timeout=SETTLE)
    oracle.wrong["requests without an end"] += len(late)
    for task in [*late, watching]:
        task.cancel()
    for user in users:
        await user.disconnect()
    for task in working:
        if not task.cancelled() and task.done() and (error := task.exception()):
            raise error
    await record_expected(server.port, again := Oracle())
    oracle.wrong["texts that differ from an undisturbed run"] += sum(
        oracle.expected[task] != text for task, text in again.expected.items()
    )
    status = await injector.status()
    oracle.wrong["gateway restarts"] += status["pid"] != gateway
    report(oracle, injector.worker_faults, done, usage, status["restarts"])
    return not any(oracle.wrong.values())


def report(
    oracle: Oracle,
    faults: list[WorkerFault],
    done: Counter[str],
    usage: ResourceUsage,
    restarts: dict[str, int],
) -> None:
    print("\n| fault | times |\n|---|---|")
    for name, times in sorted(done.items()):
        print(f"| {name} | {times} |")
    print("\n| figure | |\n|---|---|")
    for kind in ("killed", "frozen"):
        errors, next_chunks = recovery_times([f for f in faults if f.kind == kind], oracle.runs)
        print(f"| worker {kind}: time to the error | {percentile(errors)} |")
        print(f"| worker {kind}: time to the next chunk | {percentile(next_chunks)} |")
    ends = ", ".join(f"{count} {name}" for name, count in sorted(oracle.counts.items()))
    print(f"| requests ended | {ends} |")
    print(f"| workers restarted | {', '.join(f'{n} {why}' for why, n in restarts.items())} |")
    for what in (
        "chunks lost",
        "chunks duplicated",
        "chunks of another request",
        "texts that differ from an undisturbed run",
        "requests without an end",
        "requests with more than one end",
        "gateway restarts",
    ):
        print(f"| {what} | {oracle.wrong[what]} |")
    memory, files = usage.slopes()
    print(f"| growth of the gateway's memory, second half | {memory:+.0f} KiB per minute |")
    print(
        f"| growth of the gateway's descriptors, second half | {files:+.1f} per minute |",
        flush=True,
    )
    for example in oracle.examples:
        print(example, file=sys.stderr)


def main() -> None:
    """Exit status 0 if every answer was right."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long faults are injected")
    parser.add_argument("--period", type=float, default=2, help="seconds between two faults")
    parser.add_argument("--seed", type=int, default=1, help="determines the faults and their order")
    parser.add_argument(
        "--only", default="", help="only faults whose name contains this, for example SIGKILL"
    )
    parser.add_argument("--users", type=int, default=6, help="number of users of the binding echo")
    parser.add_argument(
        "--no-continue",
        action="store_true",
        help="answers end with an error when their worker dies, instead of continuing",
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
            passed = asyncio.run(chaos(server, options))
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
