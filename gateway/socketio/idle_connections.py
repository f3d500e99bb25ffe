"""How long may a connection last that belongs to no session?

Engine.IO is open before Socket.IO asks who comes, and stays open when that was
refused: somebody without a token could hold as many as there are descriptors.
"""

import asyncio
from collections.abc import Callable

import socketio

PATIENCE = 10.0
"""Seconds from the connection to the session; clients take milliseconds."""


def install(sio: socketio.AsyncServer, patience: float = PATIENCE) -> Callable[[str], None]:
    """Before the first client. Return what looks at a connection before its time is up."""
    eio = sio.eio
    greet = eio.handlers["connect"]
    endings: set[asyncio.Task[None]] = set()

    def look(id: str) -> None:
        """Show it out if it is nobody's."""
        if id not in eio.sockets or sio.manager.sid_from_eio_sid(id, "/") is not None:
            return
        if websocket := getattr(eio.sockets[id].queue, "websocket", None):
            websocket.transport.abort()  # engineio would wait for the client to close it
        endings.add(task := asyncio.create_task(eio.disconnect(id)))
        task.add_done_callback(endings.discard)

    async def connected(id: str, environ: object) -> object:
        asyncio.get_running_loop().call_later(patience, look, id)
        return await greet(id, environ)

    eio.on("connect", connected)
    return look
