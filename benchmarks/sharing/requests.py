"""What all servers are asked, and the connections of a client that asks."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

PROMPT = "Tell me a story about a lamp.\n"
PASSAGE = "The lamp stood on the hill, and its light was seen far away. " * 4
RECEIVE_BUFFER = 16 * 1024
"""Bytes that the kernel receives for a client that does not read. With its default of
megabytes, a server would notice much later that nobody reads. Clients that read have the
default: over the loopback, a window smaller than a segment costs time."""


def embedding_text(number: int) -> str:
    """A short passage, different for each number."""
    return f"Passage {number}. {PASSAGE}"


@asynccontextmanager
async def http_session(*, small_buffers: bool = False) -> AsyncIterator[aiohttp.ClientSession]:
    """Of one client. At its end its connections are cut, without a goodbye."""
    factory = _small_window if small_buffers else None
    connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=factory)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=4096 if small_buffers else 2**16,
    ) as session:  # fmt: skip
        yield session


def _small_window(address: Any) -> socket.socket:
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    return made
