"""Compare the engine with llama-server and llama_cpp.server: throughput and latencies.

All servers run at the same time, on the same library and with the same number of
threads, and are measured in turn: each round gives ratios, and their median counts. A
round in which other processes used the processor is discarded.
"""

import argparse
import asyncio
import os
import platform
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

from benchmarks.engine.measures import (
    Prompts,
    cancel_in_prefill,
    shared_prefix,
    stall,
    throughput,
)
from benchmarks.engine.our_servers import Gateway, Worker
from benchmarks.engine.overhead import InProcessWorker
from benchmarks.engine.peer_servers import LlamaCppServer, LlamaServer, Server
from benchmarks.peer_builds import cache
from benchmarks.random_model import SIXTY_MILLION, write

SLOTS, CONTEXT = 16, 2048
MIN_BUSY = 0.85
"""Share of the wall time that the compute thread must run; if less, the round was disturbed."""
Figures = dict[str, list[float]]


async def measure(servers: list[Server], prompts: Prompts, rounds: int, log: bool) -> Figures:
    """Figures named `<measure> <server>`, one per undisturbed round.

    The servers take turns within each measure, so compared figures are seconds apart.
    """
    figures: Figures = defaultdict(list)
    for attempt in range(2 * rounds):
        found: dict[str, float] = {}
        undisturbed = True
        for requests in (1, 4, SLOTS):
            for server in _turns(servers, attempt):
                if requests == 4 and isinstance(server, LlamaCppServer):
                    continue
                rates = await throughput(server, prompts, requests)
                found[f"tokens/s, {requests} {server.name}"] = rates.all
                if rates.decoding > 0:  # llama_cpp.server serves one request after the other
                    found[f"decoding, {requests} {server.name}"] = rates.decoding
                found[f"per CPU second, {requests} {server.name}"] = rates.per_cpu
                undisturbed &= rates.busy >= MIN_BUSY or isinstance(server, LlamaCppServer)
        concurrent = [server for server in servers if not isinstance(server, LlamaCppServer)]
        for server in _turns(concurrent, attempt):
            cold, warm = await shared_prefix(server, prompts)
            found[f"cold {server.name}"], found[f"warm {server.name}"] = cold, warm
            found[f"warm/cold {server.name}"] = warm / cold
        for server in _turns(concurrent, attempt):
            found[f"stall {server.name}"] = await stall(server, prompts)
        for server in _turns(concurrent, attempt):
            found[f"cancel {server.name}"] = await cancel_in_prefill(server, prompts)
        if log:
            print(
                f"round {attempt}, {'undisturbed' if undisturbed else 'disturbed'}: {found}",
                file=sys.stderr,
            )
        if not undisturbed and attempt < rounds:
            continue
        for name, value in found.items():
            figures[name].append(value)
        if len(figures[f"tokens/s, 1 {servers[0].name}"]) == rounds:
            break
    return figures


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"


def _turns(servers: list[Server], attempt: int) -> list[Server]:
    """Each round begins with a different server."""
    first = attempt % len(servers)
    return servers[first:] + servers[:first]


def ratio(figures: Figures, measure: str, ours: str, *theirs: str, largest: bool = True) -> float:
    """The median over rounds of our ratio to the best peer: that with the largest figure, or
    the smallest."""
    pick = max if largest else min
    ratios: list[float] = [
        mine / pick(others)
        for mine, *others in zip(
            figures[f"{measure} {ours}"],
            *(figures[f"{measure} {name}"] for name in theirs),
            strict=True,
        )
    ]
    return statistics.median(ratios)


def table(figures: Figures, worker: dict[str, float], ours: list[str]) -> list[str]:
    peers = ("llama-server", "llama-server -kvu")
    lines = [
        f"| figure | target | {' | '.join(ours)} |",
        f"|---|---|{'---|' * len(ours)}",
    ]

    def line(text: str, target: str, value: dict[str, str]) -> None:
        lines.append(f"| {text} | {target} | {' | '.join(value.get(o, '') for o in ours)} |")

    for requests, target in ((1, "≥ 1.0"), (4, ""), (SLOTS, "≥ 1.25")):
        line(
            f"tokens/s, ours / best llama-server, {_requests(requests)}", target,
            {o: f"{ratio(figures, f'tokens/s, {requests}', o, *peers):.2f}" for o in ours},
        )  # fmt: skip
    for requests in (1, SLOTS):
        line(
            f"the same, by processor time of the compute thread, {_requests(requests)}", "",
            {o: f"{ratio(figures, f'per CPU second, {requests}', o, *peers):.2f}" for o in ours},
        )  # fmt: skip
    line(
        f"tokens/s while all {SLOTS} decode, ours / best llama-server", "≥ 1.05",
        {o: f"{ratio(figures, f'decoding, {SLOTS}', o, *peers):.2f}" for o in ours},
    )  # fmt: skip
    if f"tokens/s, {SLOTS} {LlamaCppServer.name}" in figures:
        line(
            f"tokens/s, ours / llama_cpp.server, {SLOTS} requests", "≥ 4",
            {
                o: f"{ratio(figures, f'tokens/s, {SLOTS}', o, LlamaCppServer.name):.1f}"
                for o in ours
            },
        )  # fmt: skip
    line(
        "first token after 1,500 tokens that another request is using, warm / cold", "≤ 0.17",
        {o: f"{statistics.median(figures[f'warm/cold {o}']):.2f}" for o in ours},
    )  # fmt: skip
    line(
        "stall of running streams by 512 tokens, ours / best llama-server", "≤ 0.3",
        {o: f"{ratio(figures, 'stall', o, *peers, largest=False):.2f}" for o in ours},
    )  # fmt: skip
    line(
        "from a cancel in a prefill to the next first token, ms", "≤ 50",
        {o: f"{1000 * statistics.median(figures[f'cancel {o}']):.0f}" for o in ours},
    )  # fmt: skip
    for text, target, key in (
        ("cancel while decoding, steps", "≤ 2", "cancel"),
        ("processor time outside `llama_decode`, 1 request", "≤ 1.5 %", "1"),
        (f"processor time outside `llama_decode`, {SLOTS} requests", "≤ 1 %", f"{SLOTS}"),
    ):
        shown = f"{worker[key]:.0f}" if key == "cancel" else f"{100 * worker[key]:.2f} %"
        line(text, target, {"worker": shown})
    lines += ["", "| median | " + " | ".join([*ours, *peers, LlamaCppServer.name]) + " |"]
    lines.append("|---|" + "---|" * (len(ours) + 3))
    for measure in (
        "tokens/s, 1", "tokens/s, 4", f"tokens/s, {SLOTS}", f"decoding, {SLOTS}",
        "per CPU second, 1", f"per CPU second, {SLOTS}", "cold", "warm",
        "warm/cold", "stall", "cancel",
    ):  # fmt: skip
        values = [
            f"{statistics.median(figures[f'{measure} {name}']):.4g}"
            if figures.get(f"{measure} {name}")
            else ""
            for name in (*ours, *peers, LlamaCppServer.name)
        ]
        unit = ", s" if measure in ("cold", "warm", "stall", "cancel") else ""
        lines.append(f"| {measure}{unit} | {' | '.join(values)} |")
    return lines


def overhead(model: Path, threads: int, rounds: int) -> dict[str, float]:
    """Processor time outside `llama_decode` by number of requests, and steps to a cancel."""
    settings = {
        "n_ctx": CONTEXT, "parallel": SLOTS, "n_cells": SLOTS * CONTEXT, "n_threads": threads,
    }  # fmt: skip
    worker = InProcessWorker(model, settings)
    shares: Figures = defaultdict(list)
    for _ in range(rounds):
        shares["1"].append(worker.outside_decode(1, 200))
        shares[f"{SLOTS}"].append(worker.outside_decode(SLOTS, 100))
        shares["cancel"].append(worker.steps_to_cancel())
    worker.close()
    found = {name: statistics.median(values) for name, values in shares.items()}
    found["cancel"] = max(shares["cancel"])
    return found


async def compare(
    model: Path, threads: int, rounds: int, *, peers: bool, gateway: bool, log: bool
) -> tuple[Figures, list[str]]:
    sizes = {"slots": SLOTS, "context": CONTEXT, "threads": threads}
    with tempfile.TemporaryDirectory(prefix="lollms-") as folder:
        homes = (Path(folder) / str(n) for n in range(9))
        servers: list[Server] = [
            Worker(model, next(homes), **sizes),
            LlamaServer(model, next(homes), unified=False, **sizes),
            LlamaServer(model, next(homes), unified=True, **sizes),
        ]
        if gateway:
            servers.insert(1, Gateway(model, next(homes), **sizes))
        if peers:
            servers.append(LlamaCppServer(model, next(homes), **sizes))
        async with AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            prompts = Prompts(model)
            figures = await measure(servers, prompts, rounds, log)
    return figures, [s.name for s in servers if isinstance(s, Worker | Gateway)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="number of undisturbed rounds")
    parser.add_argument("--threads", type=int, default=1, help="compute threads per server")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: 60 M random weights)")
    parser.add_argument(
        "--no-gateway", action="store_true", help="measure the worker without the gateway only"
    )
    parser.add_argument(
        "--no-llama-cpp-server",
        action="store_true",
        help="leave out llama_cpp.server, which takes longest",
    )
    parser.add_argument("--verbose", action="store_true", help="print the figures of each round")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are stopped on the way out
    model = options.model or cache() / "random-60m-q8_0.gguf"
    if not model.exists():
        write(model, SIXTY_MILLION)
    worker = overhead(model, options.threads, options.rounds)
    figures, ours = asyncio.run(
        compare(
            model, options.threads, options.rounds, peers=not options.no_llama_cpp_server,
            gateway=not options.no_gateway, log=options.verbose,
        )
    )  # fmt: skip
    print(
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"llama-cpp-python {version('llama-cpp-python')} and llama-server of the same source, "
        f"{options.threads} thread(s), {len(figures['tokens/s, 1 worker'])} rounds\n"
    )
    print("\n".join(table(figures, worker, ours)))


if __name__ == "__main__":
    main()
