"""Peer: the straightforward gateway, `zmq.asyncio` and `sio.emit` for every token.

python -m benchmarks.gateway.naive_gateway PORT HOME
"""

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

import msgpack
import socketio
import zmq.asyncio
from aiohttp import web

from protocol.codec import encode
from protocol.messages import Cancel, Generate
from protocol.run_folder import make_run_folder, workers_address

CREDIT = 1_000_000_000  # there is no backpressure


def main() -> None:
    port, home = int(sys.argv[1]), Path(sys.argv[2])
    sio = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*")
    app = web.Application()
    sio.attach(app)
    router = zmq.asyncio.Context().socket(zmq.ROUTER)
    router.bind(workers_address(make_run_folder(home)))
    worker: list[bytes] = []
    ids = itertools.count(1)
    sids: dict[int, str] = {}
    texts: dict[int, list[str]] = {}

    @sio.event
    async def generate_text(sid: str, data: dict[str, Any]) -> None:
        id = next(ids)
        sids[id], texts[id] = sid, []
        request = Generate(id, data["prompt"], n_predict=data["n_predicts"], credit=CREDIT)
        await router.send_multipart([worker[0], encode(request)])

    @sio.event
    async def cancel_generation(sid: str) -> None:
        await sio.emit("generation_canceled", {}, to=sid)
        await disconnect(sid)

    @sio.event
    async def disconnect(sid: str) -> None:
        for id in [id for id, owner in sids.items() if owner == sid]:
            await router.send_multipart([worker[0], encode(Cancel(id))])

    async def read() -> None:
        while True:
            identity, frame = await router.recv_multipart()
            kind, body = msgpack.unpackb(frame)
            if kind == "Hello":
                worker[:] = [identity]
            elif kind == "Chunks":
                for id, text, _, _ in body["chunks"]:
                    texts[id].append(text)
                    await sio.emit("text_chunk", {"chunk": text, "type": 0}, to=sids[id])
            elif kind == "Finished":
                id = body["id"]
                await sio.emit("text_generated", {"text": "".join(texts.pop(id))}, to=sids.pop(id))

    async def start(app: web.Application) -> None:
        app["reader"] = asyncio.create_task(read())

    app.on_startup.append(start)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
