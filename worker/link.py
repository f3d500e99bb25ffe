"""How does a worker talk to the gateway?

On the main thread, and never through the binding: a cancel is seen and a
heartbeat sent however long the model computes. A gateway that goes away is
noticed by the broken connection; ZeroMQ looks for the next one for ever.
"""

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable

import zmq
from zmq.utils.monitor import parse_monitor_message

from protocol import PROTOCOL_VERSION
from protocol.codec import MAX_FRAME, TCP_KEEPALIVE, decode, encode
from protocol.errors import ProtocolError
from protocol.join_file import JoinFile
from protocol.logs import RateLimitedLog
from protocol.messages import (
    Cancel,
    Credit,
    Detokenize,
    Embed,
    Generate,
    Heartbeat,
    Hello,
    Introduce,
    Load,
    Message,
    Refused,
    Tokenize,
    Welcome,
)
from worker.outbox import Outbox
from worker.pump import Pump

log = logging.getLogger(__name__)

HELLO_SECONDS = 1.0
"""Until it is answered, Hello is said again so often."""
BUDGET = 256
"""Frames read, or sent, before the other direction has its turn."""
FRAMES_UNDER_WAY = 64
"""Left to ZeroMQ; the rest waits in the outbox, where it can still be dropped."""
LAST_WORDS_MS = 200
LOOKING_MS = 20
"""Between two looks for a gateway; ZeroMQ waits up to twice as long, 200 ms unless told."""
MINUTE = 60.0


class Refusal(Exception):
    """The gateway will never have this worker."""


class Link:
    """Owns the socket; not to be used from another thread, `stop` excepted."""

    def __init__(
        self, pump: Pump, outbox: Outbox, *, binding: str, slots: Callable[[], int],
        resumable: bool, address: str, secret: Callable[[], str], sandbox: dict[str, str],
        joining: JoinFile | None = None,
    ) -> None:  # fmt: skip
        self._pump = pump
        self._outbox = outbox
        self._binding = binding
        self._slots = slots
        self._resumable = resumable
        self._address = address
        self._secret = secret
        self._sandbox = sandbox
        self._joining = joining
        self._heartbeat = 0.0
        """Seconds; 0 until the gateway welcomes us."""
        self._connected = False
        self._due = 0.0  # the next Hello or Heartbeat
        self._unsent: bytes | None = None
        self._dropped = RateLimitedLog(log)
        self._stopping = False

    def stop(self) -> None:
        """Let `serve` return. May be called from a signal handler."""
        self._stopping = True
        self._outbox.signal()

    def serve(self, finish: Callable[[], None]) -> None:
        """Work for the gateway, whichever runs at the address, until `stop`.

        Then `finish` is called, and what was said until it returns is still sent.
        Raise Refusal when the gateway does not want us, ZMQError for an address that is none.
        """
        with zmq.Context() as context, context.socket(zmq.DEALER) as self._socket:
            self._socket.linger = 0
            self._socket.reconnect_ivl = LOOKING_MS
            self._socket.immediate = True  # without a gateway nothing piles up for the next one
            self._socket.sndhwm = FRAMES_UNDER_WAY
            self._socket.maxmsgsize = MAX_FRAME
            self._socket.identity = f"{self._binding}.{os.getpid()}.{secrets.token_hex(4)}".encode()
            if self._joining:
                self._lock(self._joining)
            wanted = (
                zmq.EVENT_HANDSHAKE_SUCCEEDED
                | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_DISCONNECTED
            )
            with self._socket.get_monitor_socket(wanted) as self._monitor:
                try:
                    self._socket.connect(self._address)
                    while not self._stopping:
                        self._turn()
                    finish()
                    self._send_what_was_said()
                    self._socket.linger = LAST_WORDS_MS
                finally:
                    self._socket.disable_monitor()

    def _lock(self, joining: JoinFile) -> None:
        """Talk to that gateway only, and be let in by it."""
        key = joining.worker_key.encode()
        self._socket.curve_secretkey = key
        self._socket.curve_publickey = zmq.curve_public(key)
        self._socket.curve_serverkey = joining.gateway_key.encode()
        self._socket.ipv6 = True
        for option, value in TCP_KEEPALIVE.items():
            self._socket.setsockopt(getattr(zmq, option), value)

    def _turn(self) -> None:
        """Wait for something to do, and do it."""
        poller = zmq.Poller()
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._outbox.fileno(), zmq.POLLIN)
        poller.register(self._socket, zmq.POLLIN | (zmq.POLLOUT if self._unsent else 0))
        wait = None
        if self._connected:
            wait = max(0, int((self._due - time.monotonic()) * 1000) + 1)
        events = dict(poller.poll(wait))
        if self._monitor in events:
            self._watch_connection()
        if self._outbox.fileno() in events:
            self._outbox.lower()
        if self._socket in events:
            self._receive()
        if self._connected and time.monotonic() >= self._due:
            self._speak_up()
        self._send_what_was_said()

    def _watch_connection(self) -> None:
        event = parse_monitor_message(self._monitor.recv_multipart())["event"]
        if event == zmq.EVENT_DISCONNECTED:
            if self._connected:
                log.info("the gateway is gone; looking for the next one")
            self._connected = False
            self._drop()
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise Refusal("it does not know this worker's key")
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._connected = True
            self._say_hello()

    def _speak_up(self) -> None:
        """It is time for a sign of life."""
        if not self._heartbeat:
            return self._say_hello()
        if not self._unsent:
            self._try_to_send(encode(Heartbeat(self._pump.steps, self._pump.active)))
        self._due = time.monotonic() + self._heartbeat

    def _say_hello(self) -> None:
        hello = Hello(
            PROTOCOL_VERSION,
            self._binding,
            os.getpid(),
            self._slots(),
            secret=self._secret(),
            model=self._pump.model,
            host=socket.gethostname(),
            resumable=self._resumable,
            sandbox=self._sandbox,
        )
        self._try_to_send(encode(hello))
        self._due = time.monotonic() + HELLO_SECONDS

    def _drop(self) -> None:
        """Whoever asked for what runs is gone, or has forgotten it."""
        self._heartbeat = 0.0
        self._unsent = None
        self._outbox.clear()
        self._pump.cancel_all()

    def _receive(self) -> None:
        for _ in range(BUDGET):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                if len(frames) != 1:
                    raise ProtocolError(f"{len(frames)} frames instead of one")
                self._act_on(decode(frames[0]))
            except ProtocolError as error:
                self._dropped.warning("dropped a frame: %s", error)

    def _act_on(self, message: Message) -> None:
        match message:
            case Welcome(heartbeat=seconds):
                if not 0 < seconds <= MINUTE:
                    raise ProtocolError(f"a heartbeat of {seconds} seconds")
                if self._heartbeat:  # to a Hello that crossed the last Welcome: all starts over
                    self._drop()
                log.info("the gateway welcomes us")
                self._heartbeat = seconds
                self._due = 0.0
            case Refused(error=error):
                raise Refusal(error)
            case Introduce():
                self._drop()
                self._say_hello()
            case _ if not self._heartbeat:
                raise ProtocolError(f"{type(message).__name__} before Welcome")
            case Cancel(id=id):
                self._pump.cancel(id)
            case Credit(id=id, tokens=tokens):
                self._pump.grant(id, tokens)
            case Load() | Generate() | Tokenize() | Detokenize() | Embed():
                self._pump.submit(message)
            case _:
                raise ProtocolError(f"{type(message).__name__} is for gateways to hear")

    def _send_what_was_said(self) -> None:
        if not self._heartbeat:
            return self._outbox.clear()
        for _ in range(BUDGET):
            if not self._unsent:
                if not (message := self._outbox.take()):
                    break
                self._unsent = encode(message)
            if not self._try_to_send(self._unsent):
                break
            self._unsent = None
        else:
            self._outbox.signal()  # there may be more
        if self._outbox.relieved():
            self._pump.wake()

    def _try_to_send(self, frame: bytes) -> bool:
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
