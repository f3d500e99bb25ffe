"""How is what a polling client posts read to its end?

engineio asks aiohttp once, which gives what has arrived by then: of a prompt
that is longer than a network buffer that is the beginning.
"""

import asyncio
from typing import Any

import socketio
from aiohttp import StreamReader


class _Whole:
    def __init__(self, content: StreamReader) -> None:
        self._content = content

    async def read(self, length: int) -> bytes:
        try:
            return await self._content.readexactly(length)
        except asyncio.IncompleteReadError:
            return b""  # it left in the middle


def install(sio: socketio.AsyncServer) -> None:
    """Before the first client."""
    translate = sio.eio._async["translate_request"]

    def translated(request: Any) -> dict[str, Any]:
        environ: dict[str, Any] = translate(request)
        return {**environ, "wsgi.input": _Whole(environ["wsgi.input"])}

    sio.eio._async = {**sio.eio._async, "translate_request": translated}
