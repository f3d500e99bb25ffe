"""Minimal peer: a bare aiohttp websocket with one `send_str` per token.

    python -m benchmarks.gateway.bare_websocket PORT

The least that a token can cost here. No sessions, no worker: the server makes the tokens.
"""

import asyncio
import json
import sys
import time
from typing import Any

from aiohttp import WSMsgType, web


async def generate(socket: web.WebSocketResponse, request: dict[str, Any]) -> None:
    pace, texts = float(request["prompt"]), []
    due = time.monotonic()
    for number in range(request["n_predicts"]):
        if pace:
            due += 1 / pace
            await asyncio.sleep(due - time.monotonic())
        elif number % 64 == 63:
            await asyncio.sleep(0)
        text = f"{time.monotonic():.6f} "
        texts.append(text)
        data = json.dumps(["text_chunk", {"chunk": text, "type": 0}], separators=(",", ":"))
        await socket.send_str("42" + data)
    await socket.send_str("42" + json.dumps(["text_generated", {"text": "".join(texts)}]))


async def handle(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str('0{"sid":"x"}')
    tasks = []
    async for message in socket:
        if message.type is WSMsgType.TEXT and message.data == "40":
            await socket.send_str('40{"sid":"x"}')
        elif message.type is WSMsgType.TEXT and message.data.startswith('42["generate_text"'):
            tasks.append(asyncio.create_task(generate(socket, json.loads(message.data[2:])[1])))
    for task in tasks:
        task.cancel()
    return socket


def main() -> None:
    app = web.Application()
    app.router.add_get("/socket.io/", handle)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
