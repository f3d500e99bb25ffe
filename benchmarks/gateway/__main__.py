"""Processor time and latency of a token in our gateway, compared with other servers.

All servers run at the same time and are measured in turn: each round gives a ratio, and
the median of the rounds counts. The server has one core, worker and clients the other.
A round in which other processes used the processor is discarded.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any

from benchmarks.gateway.servers import (
    OTHER_CORE,
    Server,
    cpu_by_process,
    running,
    start,
    steal_seconds,
)

CLIENTS, MANY, PACE = 64, 256, 50
WINDOW = 2.0
FLOOD = 1000
STALL, STALLS = 500_000, 3
CANCELS = 40
MAX_FOREIGN = 0.1
"""Share of one core; if other processes use more, a round does not count."""
Figures = dict[str, list[float]]


class LoadGenerator:
    """A load generator process that runs against one server."""

    def __init__(self, server: Server, kind: str, **options: Any) -> None:
        self.server = server
        self.process = start(
            OTHER_CORE, sys.executable, "-m", "benchmarks.gateway.load_generator", server.url,
            json.dumps({"kind": kind, **options}), stdout=subprocess.PIPE, stderr=None,
        )  # fmt: skip

    def expect(self, word: str) -> None:
        """Wait until it prints `word` and waits for `proceed`."""
        line = self._line()
        assert line == word, f"{self.server.name}: {line!r} instead of {word!r}"

    def proceed(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self._line())
        self.process.wait()
        return result

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


class ForeignLoad:
    """Processor time used by processes other than these, since construction."""

    def __init__(self, *pids: int) -> None:
        self._ours = {*pids, os.getpid()}
        self._since = time.monotonic()
        self._before, self._steal = cpu_by_process(), steal_seconds()

    @property
    def share(self) -> float:
        """Share of one core."""
        used = sum(
            max(0.0, seconds - self._before.get(pid, 0.0))
            for pid, seconds in cpu_by_process().items()
            if pid not in self._ours
        )
        return (used + steal_seconds() - self._steal) / (time.monotonic() - self._since)


def measure(server: Server, kind: str, **options: Any) -> dict[str, Any]:
    """The load generator's results, with the server's processor time per token."""
    load = LoadGenerator(server, kind, **options)
    load.expect("ready")
    load.proceed()
    load.expect("begin")
    foreign_load, before = ForeignLoad(*server.pids(), load.process.pid), server.cpu
    load.proceed()
    load.expect("end")
    cpu, foreign = server.cpu - before, foreign_load.share
    load.proceed()
    result = load.result()
    return {**result, "µs": cpu / result["tokens"] * 1e6, "foreign": foreign}


def measure_rounds(servers: list[Server], wanted: int, limit: float, strict: bool) -> Figures:
    """Up to `wanted` rounds within `limit` seconds; `strict` discards disturbed ones."""
    figures: Figures = defaultdict(list)
    deadline = time.monotonic() + limit
    discarded = 0
    while len(figures["paced ours"]) < wanted and time.monotonic() < deadline:
        found, foreign = {}, 0.0
        for server in servers:
            result = measure(server, "paced", clients=CLIENTS, pace=PACE, seconds=WINDOW)
            found[f"paced {server.name}"] = result["µs"]
            found[f"p50 {server.name}"] = result["p50"] * 1000
            foreign = max(foreign, result["foreign"])
            result = measure(server, "flood", clients=CLIENTS, tokens=FLOOD)
            found[f"flooding {server.name}"] = result["µs"]
            found[f"events {server.name}"] = result["events"] / result["tokens"]
            foreign = max(foreign, result["foreign"])
        result = measure(servers[0], "paced", clients=MANY, pace=PACE, seconds=WINDOW)
        foreign = max(foreign, result["foreign"])
        found["many delivered"], found["many p99"] = result["delivered"], result["p99"] * 1000
        found["foreign"] = foreign
        if foreign > MAX_FOREIGN and strict:
            discarded += 1
            print(f"discarded: other processes used {foreign:.0%} of a core", file=sys.stderr)
            continue
        for name, value in found.items():
            figures[name].append(value)
    figures["discarded"] = [discarded]
    return figures


def idle(server: Server, clients: int = 300) -> float:
    """Memory per connected client in kB; the clients offer compression, as browsers do."""
    load = LoadGenerator(server, "idle", clients=clients)
    load.expect("ready")
    before = server.memory
    load.proceed()
    load.expect("idle")
    after = server.memory
    load.proceed()
    load.result()
    return (after - before) / clients / 1000


def stalled(server: Server) -> tuple[float, float, float]:
    """Memory in MB for a client that requests many tokens and does not read; p99 of other
    clients in ms, before and meanwhile."""
    paced = {"clients": 32, "pace": PACE, "seconds": 1.5}
    before = measure(server, "paced", **paced)["p99"]
    load = LoadGenerator(server, "stalled", tokens=STALL, seconds=3.5)
    load.expect("ready")
    memory = server.memory
    load.proceed()
    during = measure(server, "paced", **paced)["p99"]
    load.expect("stalled")
    grown = (server.memory - memory) / 1e6
    load.proceed()
    assert load.result()["received"]
    return grown, before * 1000, during * 1000


def cancels(server: Server, flooding: int) -> float:
    """Milliseconds from the client's event to the end of the step, p50."""
    load = LoadGenerator(server, "cancels", times=CANCELS, pace=PACE, flooding=flooding)
    load.expect("ready")
    load.proceed()
    sent = load.result()["sent"]
    output = (server.worker or server.process).stdout
    assert output
    stopped: list[float] = []
    while len(stopped) < CANCELS:
        try:
            at = float(output.readline())
        except ValueError:  # the original prints other lines, too
            continue
        if at > sent[0]:  # earlier ones were cancelled by disconnecting
            stopped.append(at)
    return statistics.median(b - a for a, b in zip(sent, stopped, strict=True)) * 1000


def median_ratio(figures: Figures, one: str, other: str) -> float:
    return statistics.median(
        a / b for a, b in zip(figures[one], figures[other], strict=True)
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="number of undisturbed rounds")
    parser.add_argument(
        "--patience", type=float, default=110, help="time limit for the rounds in seconds"
    )
    parser.add_argument("--despite-load", action="store_true", help="count disturbed rounds, too")
    options = parser.parse_args()
    with ExitStack() as stack:
        names = ("ours", "default", "original", "bare")
        servers = [stack.enter_context(running(name)) for name in names]
        ours, default, original, _ = servers
        # Memory first: what a flood frees would be reused and hide the memory per client.
        memory = idle(ours), idle(default)
        stalls = [stalled(ours) for _ in range(STALLS)]
        figures = measure_rounds(
            servers, options.rounds, options.patience, not options.despite_load
        )
        cancel = cancels(ours, 0), cancels(original, 0)
        flooded = cancels(ours, 32), cancels(original, 32)
        lollms = cancels(stack.enter_context(running("lollms")), 0)
    report(figures, memory, stalls, cancel, flooded, lollms)


def report(
    figures: Figures, memory: tuple[float, float], stalls: list[tuple[float, float, float]],
    cancel: tuple[float, float], flooded: tuple[float, float], lollms: float,
) -> None:  # fmt: skip
    count = len(figures["paced ours"])
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in (
        "python-socketio", "python-engineio", "aiohttp", "pyzmq")))  # fmt: skip
    print(f"{count} rounds, {figures['discarded'][0]:.0f} discarded", end="")
    if not count:
        return print(": no undisturbed round; --despite-load counts every round")
    print(f", other processes used at most {max(figures['foreign']):.0%} of a core\n")
    print("| | ours | default | original's stack | bare |\n|---|---|---|---|---|")
    for name, text in (
        ("paced", "paced, µs of processor time per token"),
        ("flooding", "flooding, µs of processor time per token"),
        ("p50", "paced, p50 from worker to client, ms"),
        ("events", "events per token"),
    ):
        row = [statistics.median(figures[f"{name} {each}"]) for each in
               ("ours", "default", "original", "bare")]  # fmt: skip
        print(f"| {text} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    print("\n| figure | reached | target |\n|---|---|---|")
    median = {name: statistics.median(values) for name, values in figures.items()}
    for name, reached, target in (
        ("paced, default / ours", median_ratio(figures, "paced default", "paced ours"), "≥ 3"),
        (
            "paced, original's stack / ours",
            median_ratio(figures, "paced original", "paced ours"),
            "≥ 1.7",
        ),
        ("flooding, ours / bare", median_ratio(figures, "flooding ours", "flooding bare"), "≤ 1.3"),
        ("p50, ours / default", median_ratio(figures, "p50 ours", "p50 default"), "≤ 0.5"),
        (
            f"{MANY} clients × {PACE} tokens/s, delivered within 0.1 s",
            median["many delivered"],
            "≥ 0.99",
        ),
        ("the same, p99, ms", median["many p99"], "≤ 10"),
        ("memory per idle client, kB", memory[0], "≤ 40"),
        ("memory per idle client of default, kB", memory[1], ""),
        ("memory for a client that does not read, MB", max(grown for grown, *_ in stalls), "≤ 5"),
        (
            "p99 of other clients meanwhile / before",
            statistics.median(during / before for _, before, during in stalls),
            "1",
        ),
        ("from cancel to the end of the step, p50, ms", cancel[0], ""),
        ("the same, ours / original's stack", cancel[0] / cancel[1], ""),
        ("the same in lollms itself, ms", lollms, ""),
        ("the same, ours / lollms itself", cancel[0] / lollms, "≤ 0.2"),
        ("the same while 32 other clients flood, ms", flooded[0], ""),
        ("the same, ours / original's stack, flooded", flooded[0] / flooded[1], "≤ 1"),
    ):
        print(f"| {name} | {reached:.2f} | {target} |")


if __name__ == "__main__":
    main()
