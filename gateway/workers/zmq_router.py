"""A ZeroMQ ROUTER in the event loop, drained by hand.

`zmq.asyncio` makes a future for every message, which costs more than the message. The
ROUTER's descriptor is edge-triggered and knows nothing of single messages, so after each
send or receive it is read once more before the loop may sleep.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, Self

import zmq
from zmq.auth.asyncio import AsyncioAuthenticator

from gateway.errors import CannotStart
from gateway.workers.handshake import Peer
from protocol.codec import MAX_FRAME, TCP_KEEPALIVE

READ_SECONDS = 0.0005
"""Seconds of reading in one turn, before clients are served."""
YIELD_TURNS = 6
"""Turns of the event loop without reading after that: a client's cancel needs about as many
until it is handled, and would wait for READ_SECONDS in each of them."""
LINGER_MS = 200
"""For messages that are still unsent at the close."""
ZAP_DOMAIN = "workers"


class Batch(Protocol):
    """Called before and after each batch of messages, so that their effects can be combined."""

    def hold(self) -> None: ...

    def flush(self) -> None: ...


class _NoBatch:
    def hold(self) -> None: ...

    def flush(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RemoteEndpoint:
    """For workers on other machines: CURVE only, and only keys of the allow-list."""

    address: str
    """`tcp://host:port`."""
    key: bytes
    """The gateway's secret key."""
    has_key: Callable[[bytes], bool]
    """Whether this public key is on the allow-list."""

    def callback(self, domain: str, key: bytes) -> bool:
        """pyzmq calls it for each handshake."""
        return self.has_key(key)


class Sent(Enum):
    YES = auto()
    FULL = auto()  # the peer does not read
    UNREACHABLE = auto()  # there is no such peer (any more)


class Router:
    """A bound ROUTER. `take` is called with each message, from the event loop, between
    `batch.hold` and `batch.flush`: the frame that holds the sender's identity and knows its
    connection (see `peer_of`), and the frames that the sender wrote."""

    def __init__(
        self,
        address: str,
        take: Callable[[zmq.Frame, list[bytes]], None],
        *,
        remote: RemoteEndpoint | None = None,
        batch: Batch | None = None,
    ) -> None:
        """`remote` is a second address."""
        self._address = address
        self._take = take
        self._remote = remote
        batch = batch or _NoBatch()
        self._hold, self._flush = batch.hold, batch.flush
        self._scheduled = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.router_mandatory = True  # sending to a lost peer is an error
        self._socket.maxmsgsize = MAX_FRAME
        self._socket.bind(self._address)
        if self._remote:
            self._bind(self._remote)
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._readable)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._remote:
            self._authenticator.stop()
        self._context.destroy(linger=LINGER_MS)

    def _bind(self, remote: RemoteEndpoint) -> None:
        """Socket options apply to later binds only, so the Unix socket stays without CURVE. Raise
        CannotStart when the address is in use, or not of this machine."""
        self._authenticator = AsyncioAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(ZAP_DOMAIN, credentials_provider=remote)
        self._socket.zap_domain = ZAP_DOMAIN.encode()
        self._socket.curve_server = True
        self._socket.curve_secretkey = remote.key
        self._socket.ipv6 = "[" in remote.address
        for option, value in TCP_KEEPALIVE.items():
            self._socket.setsockopt(getattr(zmq, option), value)
        try:
            self._socket.bind(remote.address)
        except zmq.ZMQError as error:
            self._authenticator.stop()
            self._context.destroy(linger=0)
            raise CannotStart(f"cannot listen on {remote.address}: {error.strerror}") from None

    def send(self, identity: bytes, frame: bytes) -> Sent:
        """Never waits."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain)
        try:
            self._socket.send_multipart([identity, frame], zmq.NOBLOCK)
        except zmq.Again:
            return Sent.FULL
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return Sent.UNREACHABLE
        return Sent.YES

    def _drain(self) -> None:
        if self._socket.closed:
            return
        self._scheduled = more = True  # `send` need not schedule another read
        self._hold()
        deadline = time.monotonic() + READ_SECONDS
        try:
            while more and time.monotonic() < deadline:
                try:
                    sender, frames = self._receive()
                except zmq.Again:
                    more = False
                else:
                    self._take(sender, frames)
        finally:
            self._scheduled = more
            if more:
                self._yield_turns(YIELD_TURNS)
            self._flush()

    def _receive(self) -> tuple[zmq.Frame, list[bytes]]:
        """One message. Frame by frame it takes half the time of `recv_multipart`; the frames
        behind the first one are there together with it, however many there are."""
        sender = frame = self._socket.recv(zmq.NOBLOCK, copy=False)
        frames: list[bytes] = []
        while frame.more:
            frame = self._socket.recv(zmq.NOBLOCK, copy=False)
            frames.append(frame.bytes)
        return sender, frames

    def _readable(self) -> None:
        if not self._scheduled:
            self._drain()

    def _yield_turns(self, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._yield_turns, turns - 1)
        else:
            self._drain()


def peer_of(sender: zmq.Frame) -> Peer:
    """Who is at the other end of the connection by which this frame came.

    libzmq asks the kernel when a process connects (SO_PEERCRED): "localhost:uid:gid:pid" for a
    Unix socket, the network address for TCP. The authenticator adds the key that was proven.
    """
    address = _property(sender, "Peer-Address")
    key = _property(sender, "User-Id")
    if not address.startswith("localhost") and (address or key):
        return Peer(remote=True, key=key)
    credentials = address.split(":")[1:]
    if len(credentials) != 3 or not _TELLS_PEERS:
        # A peer that speaks a protocol before ZMTP 3 has no properties.
        return Peer(hidden=_TELLS_PEERS)
    uid, pid = credentials[0], credentials[2]
    return Peer(pid=int(pid or 0), same_user=uid == str(os.getuid()))


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        return str(frame.get(name))
    except (zmq.ZMQError, UnicodeDecodeError):  # it has no such property, or none of libzmq's own
        return ""


def _has_glibc() -> bool:
    with suppress(OSError, ValueError):
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    return False


_TELLS_PEERS = _has_glibc()
"""With another C library libzmq has no address for a Unix socket, and a peer may send one."""
