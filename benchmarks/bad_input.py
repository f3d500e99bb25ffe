"""What does the original server make of bad input, and what do we? `python -m benchmarks.bad_input`

The cases of `tests/server/hostile_input`, sent to both in the same way, over websockets. A
server is started anew for each group of cases, since one may be enough to stop
the original from generating. Takes some minutes; the first run installs it.
"""

import argparse
import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.gateway.servers import free_port, wait_for
from benchmarks.lollms_server import VERSION, original
from tests.server.hostile_input.test_events import judged
from tests.server.hostile_input.test_transport import FRAMES, NO_REQUEST, is_answer, mutated
from tests.support.cases import CASES, REPLIES, Case
from tests.support.engineio_lines import Websocket
from tests.support.harness import ROOT, home
from tests.support.zoos import add

PATIENCE = 0.5
"""Seconds for an answer; ours are there within milliseconds, the original's as well."""
QUESTION, ANSWER = '42["list_active_personalities"]', '42["active_personalities_list"'
"""What both answer. For a request that is this one itself the answer counts once."""
Counts = Counter[str]


class Server:
    """One that listens; both have an address and a log."""

    def __init__(self, url: str, log: Callable[[], str], alive: Callable[[], bool]) -> None:
        self.url, self.log, self.alive = url, log, alive


@contextmanager
def ours() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder, home(
        Path(folder), bindings_path=str(ROOT / "bindings"), binding_name="echo",
        model_name="lorem", personalities_path=f"{folder}/zoo",
    ) as opened:  # fmt: skip
        add(Path(folder) / "zoo", "english/a/b")
        process = opened.gateway()
        opened.worker("echo")
        opened.ready()
        yield Server(opened.url, lambda: opened.log("gateway"), lambda: process.poll() is None)


@contextmanager
def theirs() -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with original(port, log) as process:
            wait_for(port, process, "the original", seconds=60)
            yield Server(
                f"http://127.0.0.1:{port}",
                lambda: log.read_text(errors="replace"),
                lambda: process.poll() is None,
            )


class Caller(Websocket):
    """Waits for answers as long as `PATIENCE`, and does not count on any."""

    async def close(self) -> None:
        """Not every server says goodbye."""
        with suppress(TimeoutError):
            await asyncio.wait_for(super().close(), PATIENCE)

    async def hears(self, start: int, found: Callable[[str], bool]) -> bool:
        try:
            return bool(await asyncio.wait_for(self.until(found, start), PATIENCE))
        except TimeoutError:
            return False

    async def deaf(self) -> bool:
        """Nothing that comes on this connection is answered any more."""
        start = len(self.packets)
        with suppress(ConnectionError):
            await self.send(QUESTION)
        return not await self.hears(start, lambda packet: packet.startswith(ANSWER))

    async def generates(self) -> bool:
        start = len(self.packets)
        asked = {"prompt": "0", "personality": -1, "n_predicts": 3}
        with suppress(ConnectionError):
            await self.send(f'42["generate_text",{json.dumps(asked)}]')
        await self.hears(start, lambda packet: packet.startswith('42["text_generated"'))
        return any(packet.startswith('42["text_generated"') for packet in self.packets[start:])


@contextmanager
def calls(server: Server) -> Iterator[Any]:
    """Makes connections to it, one after another."""
    with asyncio.Runner() as runner:
        yield lambda act: runner.run(_called(server, act))


async def _called(server: Any, act: Callable[[Caller], Any]) -> Any:
    async with aiohttp.ClientSession() as http:
        caller = Caller(server, http)
        await asyncio.wait_for(caller.open(), 5)
        try:
            return await act(caller)
        finally:
            await caller.close()


async def ask(caller: Caller, case: Case) -> str:
    """How it was answered."""
    event, start = json.dumps(json.loads(f'"{case.event}"')), len(caller.packets)
    kind = "51-" if case.attachment else "2"
    with suppress(ConnectionError):
        await caller.send(f"4{kind}7[{event}{',' * bool(case.payload)}{case.payload}]")
        if case.attachment:
            await caller.send(b"abc")
    await caller.hears(start, is_answer)
    await asyncio.sleep(0.05)
    told = [json.loads(packet[2:]) for packet in caller.packets[start:] if packet[:3] == "42["]
    events = [(name, data) for name, data in told if name != "text_chunk"]
    if not events:
        return "silence"
    if events[0][0] == "buzzy":
        return "busy for ever"
    return "otherwise" if judged(case, events, events[-1][1], "\0") else "as promised"


def group_of(case: Case) -> tuple[str, str]:
    return case.event if case.event in REPLIES else "", case.what.split()[0]


def table(start: Callable[[], AbstractContextManager[Server]]) -> Counts:
    """The cases, event by event and field by field."""
    counts: Counts = Counter(cases=len(CASES))
    for _, group in groupby(CASES, group_of):
        with start() as server, calls(server) as call:

            async def all(caller: Caller, cases: list[Case] = list(group)) -> None:  # noqa: B006
                for case in cases:
                    counts[await ask(caller, case)] += 1
                counts["groups that leave a connection deaf"] += await caller.deaf()

            call(all)
            counts["groups"] += 1
            counts["groups after which nothing is generated"] += not call(Caller.generates)
            counts["tracebacks in the log"] += server.log().count("Traceback (most recent")
            counts["deaths"] += not server.alive()
    return counts


def frames(start: Callable[[], AbstractContextManager[Server]]) -> Counts:
    wanted = [
        f for f in [*FRAMES, *mutated(120)] if not str(f).startswith((*NO_REQUEST, "1", "41"))
    ]
    counts: Counts = Counter(frames=len(wanted))

    async def one(caller: Caller, frame: str | bytes) -> None:
        start = len(caller.packets)
        with suppress(ConnectionError):
            await caller.send(frame)
        if await caller.hears(start, is_answer):
            counts["answered"] += 1
        elif caller.closed:
            counts["connection ended without a word"] += 1
        elif await caller.deaf():
            counts["connection deaf afterwards"] += 1
        else:
            counts["silence"] += 1

    with start() as server, calls(server) as call:
        for frame in wanted:
            call(lambda caller, frame=frame: one(caller, frame))
        counts["generates afterwards"] = int(call(Caller.generates))
        counts["tracebacks in the log"] = server.log().count("Traceback (most recent")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bad_input", description=__doc__)
    parser.parse_args()
    for title, measure in (("Table of events", table), ("Raw frames", frames)):
        found = [measure(ours), measure(theirs)]
        print(f"\n| {title} | ours | lollms {VERSION} |\n|---|---|---|")
        for name in dict.fromkeys([*found[0], *found[1]]):
            print(f"| {name} | {found[0][name]} | {found[1][name]} |", flush=True)


if __name__ == "__main__":
    main()
