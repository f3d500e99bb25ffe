"""Measure how long a newcomer waits for its first chunk beside various loads.

Each case starts a fresh server in a temporary folder, puts it under load and lets one more
client ask. The peer is llama-server with the same model file and as many slots. The median of
the rounds counts.
"""

import argparse
import asyncio
import math
import os
import platform
import signal
import statistics
import sys

from benchmarks.sharing.cases import CASES, FIRST_CHUNK, WINDOW, Case, Figures, Limits
from benchmarks.sharing.llama_server import LlamaServer
from benchmarks.sharing.our_server import ECHO, LLAMA_CPP
from benchmarks.sharing.servers import Server

SERVERS: tuple[Server, ...] = (ECHO, LLAMA_CPP, LlamaServer(LLAMA_CPP.slots))


def shown(row: str, values: list[float], patience: float) -> str:
    value = statistics.median(values)
    if math.isinf(value):
        return f"> {patience:g} s"
    return f"{value:.2f} s" if row == FIRST_CHUNK else f"{value:.3g}"


def table_rows(case: Case, found: dict[str, list[Figures]], limits: Limits) -> list[str]:
    """`found`: the figures of each round by server; a server without any lacks something."""
    lines = []
    patience = WINDOW if case.holders else limits.patience
    for row in case.rows:
        cells = [
            shown(row, [figures[row] for figures in found[server.name]], patience)
            if found[server.name]
            else server.lacks[case.needs] if case.needs else ""
            for server in SERVERS
            if server.name in found
        ]  # fmt: skip
        name = case.name if row == FIRST_CHUNK else f"the same, {row}"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


async def measure(case: Case, servers: list[Server], rounds: int, limits: Limits) -> list[str]:
    found: dict[str, list[Figures]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            if case.needs not in server.lacks:
                found[server.name].append(await case.on(server, limits))
    return table_rows(case, found, limits)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sharing", description=__doc__)
    names = [server.name for server in SERVERS]
    parser.add_argument("--rounds", type=int, default=3, help="rounds per figure")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument(
        "--servers", nargs="+", choices=names, default=names, help="default: all of them"
    )
    parser.add_argument(
        "--patience", type=float, default=20, help="seconds to wait for the first chunk"
    )
    parser.add_argument(
        "--settle", type=float, default=10,
        help="seconds at most until the newcomer comes, while clients of the load have no chunk",
    )  # fmt: skip
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are stopped on the way out
    servers = [server for server in SERVERS if server.name in options.servers]
    limits = Limits(options.patience, options.settle)
    print(
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"median of {options.rounds}\n"
    )
    print(f"| load | {' | '.join(server.name for server in servers)} |")
    print(f"|---|{'---|' * len(servers)}", flush=True)
    for case in CASES:
        if options.only in case.name:
            for line in asyncio.run(measure(case, servers, options.rounds, limits)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
