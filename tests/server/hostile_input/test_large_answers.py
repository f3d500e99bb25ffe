"""An answer that no frame can carry fails its own request, and takes no slot with it."""

import asyncio
from pathlib import Path
from typing import Any

from tests.support.harness import PATIENCE, ROOT, Home, client, home, names, run

ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "lorem"}
EMOJI = "\U0001f600" * 300_000
"""1.2 million tokens of `echo`, whose tokens are bytes; a list may have 1,048,576."""


async def tokenize(server: Home) -> dict[str, Any]:
    async with client(server) as one:
        answer: dict[str, Any] = await one.sio.call("tokenize", {"prompt": EMOJI}, timeout=PATIENCE)
        return answer


def test_eight_of_them_are_answered_and_the_next_client_is_served(tmp_path: Path) -> None:
    async def scenario(server: Home) -> None:
        answers = await asyncio.gather(*(tokenize(server) for _ in range(8)))
        for answer in answers:
            assert answer["success"] is False and answer["tokens"] == []
            assert "a list may have 1,048,576" in answer["error"]
        async with client(server) as next_one:
            events = await next_one.generate("x", n_predicts=5)
            assert names(events)[-1] == "text_generated"
            assert events[-1][1]["tokens"] == 5

    with home(tmp_path, **ECHO, max_frame="8000000") as server:
        server.gateway()
        server.worker("echo")
        server.ready()
        run(scenario(server))
