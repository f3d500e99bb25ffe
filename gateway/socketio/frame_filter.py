"""What of a client's frames is let through to engineio, which has no answer for most of them?

What it cannot read, and what is too long, goes on as a packet that says so and
is answered like an event. Nothing is held for attachments that may never come.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import socketio
from aiohttp import web
from engineio import packet

from gateway.socketio.packets import announced, refused

KINDS = tuple(map(str, (packet.CLOSE, packet.PONG, packet.MESSAGE, packet.UPGRADE)))
"""What a client may send. Its pings belong to an upgrade."""
PROBE_PATIENCE = 10.0
"""Seconds between two frames of an upgrade."""
CONNECT_FIRST = '4{"message":"connect first: nothing is answered before"}'


def tidied(frame: str, limit: int) -> str:
    """One that engineio can read: the same, or one with a refusal. `limit` is in bytes."""
    if len(frame) > limit or (not frame.isascii() and len(frame.encode(errors="replace")) > limit):
        return too_long(frame, limit)
    if not frame:
        return _refusal("an empty frame says nothing")
    if frame[0] == "b":  # binary data, as polling clients have it
        return "b"
    if frame[0] not in KINDS:
        return _refusal("a frame begins with 1, 3, 4 or 5")
    return frame


def too_long(start: str, limit: int) -> str:
    """In place of a frame that began like this."""
    return _refusal(f"a message may have {limit:,} bytes, and this one is longer", start)


def not_utf8(start: bytes) -> str:
    return _refusal("a message must be UTF-8", start.decode(errors="replace"))


def _refusal(why: str, start: str = "") -> str:
    return f"{packet.MESSAGE}{refused(why, start[1:])}"


def install(sio: socketio.AsyncServer, limit: int, show_out: Callable[[str], None]) -> None:
    """Before the first client, and after all others that change how frames come in.

    `show_out` is called with the id of a connection that goes on without being a client.
    """
    eio = sio.eio
    make, take = eio._async["websocket"], eio.handlers["message"]

    def websocket(handler: Any, server: Any) -> Any:
        socket = handler.__self__
        if socket.upgrading:
            return _already
        made = make(handler, server)
        made.wait = _checked(made.wait, socket, limit)
        return made

    async def message(id: str, data: Any) -> None:
        socket = eio.sockets.get(id)
        if socket is None:
            return
        if not isinstance(data, str):
            if isinstance(data, bytes) and getattr(socket, "attachments", 0) > 0:
                socket.attachments -= 1  # of an event that has been answered
                return
            data = refused("binary data is not accepted", "")
        data = data or refused("an empty packet says nothing", "")
        socket.attachments = announced(data)
        if sio.manager.sid_from_eio_sid(id, "/") is None and not data.startswith("0"):
            if getattr(socket, "told", False):
                return show_out(id)
            socket.told = True
            await eio.send_packet(id, packet.Packet(packet.MESSAGE, CONNECT_FIRST))
            return
        await take(id, data)

    eio._async = {**eio._async, "websocket": websocket}
    eio.on("message", message)


async def _already(environ: object) -> web.Response:
    return web.Response(status=400, text="this connection is being upgraded already\n")


def _checked(wait: Callable[[], Any], socket: Any, limit: int) -> Callable[[], Any]:
    """`wait` of a websocket; socket is engineio's."""

    async def checked() -> Any:
        if socket.upgrading:
            return await _probed()
        if socket.closed:  # it said goodbye and stays
            raise OSError
        frame = await wait()
        return tidied(frame, limit) if isinstance(frame, str) else b""

    async def _probed() -> Any:
        try:
            frame = await asyncio.wait_for(wait(), PROBE_PATIENCE)
        except OSError:  # the time is up, too
            socket.upgrading = False  # engineio forgets to, and answers every poll with nothing
            raise
        known = isinstance(frame, str) and frame[:1] in (*KINDS, str(packet.PING))
        return frame if known else str(packet.NOOP)

    return checked
