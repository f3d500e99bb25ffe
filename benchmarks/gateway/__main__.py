"""What does a token cost in the gateway, and how late is it? `python -m benchmarks.gateway`

Ours beside its peers, all up at once and asked in turn: each round is a ratio,
the median of the rounds counts. The server has one core, worker and clients the
other. A round in which something else used the processor is thrown away.
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
    Stack,
    everybody,
    stack,
    start,
    stolen,
)

CLIENTS, MANY, PACE = 64, 256, 50
WINDOW = 2.0
FLOOD = 1000
STALL, STALLS = 500_000, 3
CANCELS = 40
FOREIGN = 0.1
"""Of one core: more than this of somebody else's, and a round does not count."""
Figures = dict[str, list[float]]


class Load:
    """A load generator at work on one server; what the server used meanwhile is added."""

    def __init__(self, server: Stack, kind: str, **what: Any) -> None:
        self.server = server
        self.process = start(
            OTHER_CORE, sys.executable, "-m", "benchmarks.gateway.load_generator", server.url,
            json.dumps({"kind": kind, **what}), stdout=subprocess.PIPE, stderr=None,
        )  # fmt: skip

    def until(self, word: str) -> None:
        said = self._line()
        assert said == word, f"{self.server.name}: {said!r} instead of {word!r}"

    def on(self) -> None:
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


class Quiet:
    """Has anybody but these processes used the processor?"""

    def __init__(self, *pids: int) -> None:
        self._ours = {*pids, os.getpid()}
        self._since = time.monotonic()
        self._before, self._stolen = everybody(), stolen()

    @property
    def foreign(self) -> float:
        """Share of one core."""
        used = sum(
            max(0.0, seconds - self._before.get(pid, 0.0))
            for pid, seconds in everybody().items()
            if pid not in self._ours
        )
        return (used + stolen() - self._stolen) / (time.monotonic() - self._since)


def measured(server: Stack, kind: str, **what: Any) -> dict[str, Any]:
    load = Load(server, kind, **what)
    load.until("ready")
    load.on()
    load.until("begin")
    quiet, before = Quiet(*server.pids(), load.process.pid), server.cpu
    load.on()
    load.until("end")
    cpu, foreign = server.cpu - before, quiet.foreign
    load.on()
    result = load.result()
    return {**result, "µs": cpu / result["tokens"] * 1e6, "foreign": foreign}


def rounds(servers: list[Stack], wanted: int, patience: float, strict: bool) -> Figures:
    figures: Figures = defaultdict(list)
    deadline = time.monotonic() + patience
    thrown = 0
    while len(figures["paced ours"]) < wanted and time.monotonic() < deadline:
        found, foreign = {}, 0.0
        for server in servers:
            seen = measured(server, "paced", clients=CLIENTS, pace=PACE, seconds=WINDOW)
            found[f"paced {server.name}"] = seen["µs"]
            found[f"p50 {server.name}"] = seen["p50"] * 1000
            foreign = max(foreign, seen["foreign"])
            seen = measured(server, "flood", clients=CLIENTS, tokens=FLOOD)
            found[f"flooding {server.name}"] = seen["µs"]
            found[f"events {server.name}"] = seen["events"] / seen["tokens"]
            foreign = max(foreign, seen["foreign"])
        seen = measured(servers[0], "paced", clients=MANY, pace=PACE, seconds=WINDOW)
        foreign = max(foreign, seen["foreign"])
        found["many delivered"], found["many p99"] = seen["delivered"], seen["p99"] * 1000
        found["foreign"] = foreign
        if foreign > FOREIGN and strict:
            thrown += 1
            print(f"thrown away: others used {foreign:.0%} of a core", file=sys.stderr)
            continue
        for name, value in found.items():
            figures[name].append(value)
    figures["thrown away"] = [thrown]
    return figures


def idle(server: Stack, clients: int = 300) -> float:
    """kB that a connected client costs; they offer compression, as browsers do."""
    load = Load(server, "idle", clients=clients)
    load.until("ready")
    before = server.memory
    load.on()
    load.until("idle")
    after = server.memory
    load.on()
    load.result()
    return (after - before) / clients / 1000


def stalled(server: Stack) -> tuple[float, float, float]:
    """MB that a client costs which asks for much and does not read; p99 of others, before and
    while it does not."""
    paced = {"clients": 32, "pace": PACE, "seconds": 1.5}
    before = measured(server, "paced", **paced)["p99"]
    load = Load(server, "stalled", tokens=STALL, seconds=3.5)
    load.until("ready")
    memory = server.memory
    load.on()
    during = measured(server, "paced", **paced)["p99"]
    load.until("stalled")
    grown = (server.memory - memory) / 1e6
    load.on()
    assert load.result()["received"]
    return grown, before * 1000, during * 1000


def cancels(server: Stack, flooding: int) -> float:
    """Milliseconds from the client's event to the end of the computing, p50."""
    load = Load(server, "cancels", times=CANCELS, pace=PACE, flooding=flooding)
    load.until("ready")
    load.on()
    sent = load.result()["sent"]
    output = (server.worker or server.server).stdout
    assert output
    stopped: list[float] = []
    while len(stopped) < CANCELS:
        try:
            at = float(output.readline())
        except ValueError:  # the original says much
            continue
        if at > sent[0]:  # others before were cancelled by leaving
            stopped.append(at)
    return statistics.median(b - a for a, b in zip(sent, stopped, strict=True)) * 1000


def ratios(figures: Figures, one: str, other: str) -> float:
    return statistics.median(
        a / b for a, b in zip(figures[one], figures[other], strict=True)
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=110, help="seconds for the rounds")
    parser.add_argument("--despite-load", action="store_true", help="count every round")
    options = parser.parse_args()
    with ExitStack() as ending:
        names = ("ours", "default", "original", "bare")
        servers = [ending.enter_context(stack(name)) for name in names]
        ours, default, original, _ = servers
        # Memory first: what a flood leaves free would hide what a client costs.
        memory = idle(ours), idle(default)
        stalls = [stalled(ours) for _ in range(STALLS)]
        figures = rounds(servers, options.rounds, options.patience, not options.despite_load)
        cancel = cancels(ours, 0), cancels(original, 0)
        flooded = cancels(ours, 32), cancels(original, 32)
        lollms = cancels(ending.enter_context(stack("lollms")), 0)
    report(figures, memory, stalls, cancel, flooded, lollms)


def report(
    figures: Figures, memory: tuple[float, float], stalls: list[tuple[float, float, float]],
    cancel: tuple[float, float], flooded: tuple[float, float], lollms: float,
) -> None:  # fmt: skip
    count = len(figures["paced ours"])
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in (
        "python-socketio", "python-engineio", "aiohttp", "pyzmq")))  # fmt: skip
    print(f"{count} rounds, {figures['thrown away'][0]:.0f} thrown away", end="")
    if not count:
        return print(": nothing to report; with --despite-load every round counts")
    print(f", others used at most {max(figures['foreign']):.0%} of a core\n")
    print("| | ours | default | original's stack | bare |\n|---|---|---|---|---|")
    for name in ("paced", "flooding", "p50", "events"):
        row = [statistics.median(figures[f"{name} {each}"]) for each in
               ("ours", "default", "original", "bare")]  # fmt: skip
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    print("\n| figure | reached | target |\n|---|---|---|")
    median = {name: statistics.median(values) for name, values in figures.items()}
    for name, reached, target in (
        ("paced, default / ours", ratios(figures, "paced default", "paced ours"), "≥ 3"),
        ("paced, original's / ours", ratios(figures, "paced original", "paced ours"), "≥ 1.7"),
        ("flooding, ours / bare", ratios(figures, "flooding ours", "flooding bare"), "≤ 1.3"),
        ("p50, ours / default", ratios(figures, "p50 ours", "p50 default"), "≤ 0.5"),
        ("256 clients: delivered", median["many delivered"], "≥ 0.99"),
        ("256 clients: p99, ms", median["many p99"], "≤ 10"),
        ("idle client, kB", memory[0], "≤ 40"),
        ("idle client of default, kB", memory[1], ""),
        ("stalled client, MB", max(grown for grown, *_ in stalls), "≤ 5"),
        (
            "p99 of others meanwhile / before",
            statistics.median(during / before for _, before, during in stalls),
            "1",
        ),
        ("cancel p50, ms", cancel[0], ""),
        ("cancel p50, ours / original's stack", cancel[0] / cancel[1], ""),
        ("cancel p50 of lollms itself, ms", lollms, ""),
        ("cancel p50, ours / lollms itself", cancel[0] / lollms, "≤ 0.2"),
        ("flooded cancel p50, ms", flooded[0], ""),
        ("flooded cancel p50, ours / original's stack", flooded[0] / flooded[1], "≤ 1"),
    ):
        print(f"| {name} | {reached:.2f} | {target} |")


if __name__ == "__main__":
    main()
