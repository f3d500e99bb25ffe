"""Compare how our server and the original, lollms, respond to invalid input.

The cases of `tests/server/hostile_input` are sent to both in the same way, over
websockets. Each group of cases gets a fresh server, because one case can stop the
original from generating. Takes some minutes; the first run installs the original.
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

from benchmarks import lollms_server
from benchmarks.gateway.servers import free_port, wait_for
from tests.server.hostile_input.test_events import problem_with
from tests.server.hostile_input.test_transport import FRAMES, NO_REQUEST, is_answer, mutated
from tests.support.cases import CASES, REPLIES, Case
from tests.support.engineio_lines import Websocket
from tests.support.harness import ROOT, home
from tests.support.zoos import add

PATIENCE = 0.5
"""Seconds to wait for an answer; ours take milliseconds, the original's as well."""
QUESTION, ANSWER = '42["list_active_personalities"]', '42["active_personalities_list"'
"""A request that both servers answer. If a case is this request, its answer counts once."""
NO_ANSWER_AFTER = "groups after which the connection's next request gets no answer"
Counts = Counter[str]


class Server:
    """A server that listens; its log, and whether its process is alive."""

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
def lollms() -> Iterator[Server]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with lollms_server.running(port, log) as process:
            wait_for(port, process, "lollms", seconds=60)
            yield Server(
                f"http://127.0.0.1:{port}",
                lambda: log.read_text(errors="replace"),
                lambda: process.poll() is None,
            )


class Client(Websocket):
    """Waits at most `PATIENCE` for an answer, which may not come."""

    async def close(self) -> None:
        """Does not wait long: not every server answers the close frame."""
        with suppress(TimeoutError):
            await asyncio.wait_for(super().close(), PATIENCE)

    async def receives(self, start: int, found: Callable[[str], bool]) -> bool:
        try:
            return bool(await asyncio.wait_for(self.until(found, start), PATIENCE))
        except TimeoutError:
            return False

    async def unresponsive(self) -> bool:
        """Whether requests on this connection get no answer any more."""
        start = len(self.packets)
        with suppress(ConnectionError):
            await self.send(QUESTION)
        return not await self.receives(start, lambda packet: packet.startswith(ANSWER))

    async def generates(self) -> bool:
        start = len(self.packets)
        data = {"prompt": "0", "personality": -1, "n_predicts": 3}
        with suppress(ConnectionError):
            await self.send(f'42["generate_text",{json.dumps(data)}]')
        await self.receives(start, lambda packet: packet.startswith('42["text_generated"'))
        return any(packet.startswith('42["text_generated"') for packet in self.packets[start:])


@contextmanager
def connecting(server: Server) -> Iterator[Any]:
    """Yields a function that runs a coroutine with a new client, one after another."""
    with asyncio.Runner() as runner:
        yield lambda act: runner.run(_with_client(server, act))


async def _with_client(server: Any, act: Callable[[Client], Any]) -> Any:
    async with aiohttp.ClientSession() as http:
        client = Client(server, http)
        await asyncio.wait_for(client.open(), 5)
        try:
            return await act(client)
        finally:
            await client.close()


async def send_case(client: Client, case: Case) -> str:
    """Send it; returns how it was answered, as a row of the table."""
    event, start = json.dumps(json.loads(f'"{case.event}"')), len(client.packets)
    kind = "51-" if case.attachment else "2"
    with suppress(ConnectionError):
        await client.send(f"4{kind}7[{event}{',' * bool(case.payload)}{case.payload}]")
        if case.attachment:
            await client.send(b"abc")
    await client.receives(start, is_answer)
    await asyncio.sleep(0.05)
    received = [json.loads(packet[2:]) for packet in client.packets[start:] if packet[:3] == "42["]
    events = [(name, data) for name, data in received if name != "text_chunk"]
    if not events:
        return "not answered"
    if events[0][0] == "buzzy":
        return "`buzzy`, because an earlier case blocked generation permanently"
    if problem_with(case, events, events[-1][1], "\0"):
        return "answered differently"
    return "answered as documented in docs/events.md"


def group_of(case: Case) -> tuple[str, str]:
    return case.event if case.event in REPLIES else "", case.what.split()[0]


def event_table(start: Callable[[], AbstractContextManager[Server]]) -> Counts:
    """Send all cases, grouped by event and field; counts by row."""
    counts: Counts = Counter(cases=len(CASES))
    for _, group in groupby(CASES, group_of):
        with start() as server, connecting(server) as run:

            async def send_all(client: Client, cases: list[Case] = list(group)) -> None:  # noqa: B006
                for case in cases:
                    counts[await send_case(client, case)] += 1
                counts[NO_ANSWER_AFTER] += await client.unresponsive()

            run(send_all)
            counts["groups"] += 1
            counts["groups after which no client can generate"] += not run(Client.generates)
            counts["tracebacks in the log"] += server.log().count("Traceback (most recent")
            counts["servers that died"] += not server.alive()
    return counts


def frame_table(start: Callable[[], AbstractContextManager[Server]]) -> Counts:
    """Send raw frames, valid and mutated; counts by row."""
    frames = [
        f for f in [*FRAMES, *mutated(120)] if not str(f).startswith((*NO_REQUEST, "1", "41"))
    ]
    counts: Counts = Counter({"frames other than close and pong": len(frames)})

    async def one(client: Client, frame: str | bytes) -> None:
        start = len(client.packets)
        with suppress(ConnectionError):
            await client.send(frame)
        if await client.receives(start, is_answer):
            counts["answered"] += 1
        elif client.closed:
            counts["the connection closed without a message"] += 1
        elif await client.unresponsive():
            counts["the connection no longer responds"] += 1
        else:
            counts["not answered"] += 1

    with start() as server, connecting(server) as run:
        for frame in frames:
            run(lambda client, frame=frame: one(client, frame))
        counts["can generate afterwards"] = int(run(Client.generates))
        counts["tracebacks in the log"] = server.log().count("Traceback (most recent")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bad_input", description=__doc__)
    parser.parse_args()
    for title, measure in (
        ("every event with every bad value", event_table),
        ("raw frames", frame_table),
    ):
        found = [measure(ours), measure(lollms)]
        print(f"\n| {title} | ours | lollms {lollms_server.VERSION} |\n|---|---|---|")
        for name in dict.fromkeys([*found[0], *found[1]]):
            print(f"| {name} | {found[0][name]} | {found[1][name]} |", flush=True)


if __name__ == "__main__":
    main()
