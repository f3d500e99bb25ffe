"""Many clients at once: texts are complete and separate; a full queue refuses the next."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import Event, Home, chunks, client, home, names, run


def test_sixteen_clients_at_once_get_their_own_text_whole(server: Home) -> None:
    async def scenario() -> list[tuple[list[Event], str]]:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(server)) for _ in range(16)]
            async with client(server) as alone:
                expected = [
                    ends_once(await alone.generate("x", n_predicts=400, parameters={"seed": n}))
                    for n in range(16)
                ]
            streams = await asyncio.gather(
                *(
                    one.generate("x", n_predicts=400, parameters={"seed": n})
                    for n, one in enumerate(clients)
                )
            )
            return [(s, e["text"]) for s, e in zip(streams, expected, strict=True)]

    for events, expected in run(scenario()):
        assert ends_once(events)["text"] == chunks(events) == expected


def test_the_one_beyond_a_full_queue_is_buzzy(tmp_path: Path, bindings: Path) -> None:
    async def scenario(server: Home) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(server)) for _ in range(5)]
            await select(clients[0], "single", "one")
            for one in clients[:4]:
                await one.emit("generate_text", {"prompt": "x", "n_predicts": 20})
                await one.settle()
            refused = await clients[4].generate("x", n_predicts=20)
            assert names(refused) == ["buzzy"]
            for one in clients[:4]:
                events = await one.until("text_generated")
                assert len(ends_once(events)["text"].split()) == 20
            served = await clients[4].generate("x", n_predicts=20)
            assert names(served)[-1] == "text_generated"

    with home(tmp_path, bindings_path=str(bindings), max_queue="3") as server:
        server.gateway()
        server.worker("single")
        run(scenario(server))
