"""A worker's connection to the gateway: handshake, heartbeats, requests and output.

It runs on the main thread and never waits for the binding, so it handles cancels
and sends heartbeats however long the model computes. A broken connection shows that
the gateway is gone; ZeroMQ then tries to reconnect without end.
"""

import logging
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable

import zmq
from zmq.utils.monitor import parse_monitor_message

from protocol import PROTOCOL_VERSION
from protocol.codec import MAX_FRAME, TCP_KEEPALIVE, decode, encode, ids_of, unsendable
from protocol.errors import ErrorCode, ProtocolError
from protocol.join_file import JoinFile
from protocol.logs import RateLimitedLog
from protocol.messages import (
    Cancel,
    Chunks,
    Credit,
    Detokenize,
    Embed,
    Failed,
    Finished,
    FinishReason,
    Generate,
    Heartbeat,
    Hello,
    Introduce,
    Load,
    Message,
    Quit,
    Refused,
    Tokenize,
    Welcome,
)
from worker.outbox import Outbox
from worker.pump import Pump

log = logging.getLogger(__name__)

HELLO_SECONDS = 1.0
"""Interval at which Hello is repeated until it is answered."""
FRAMES_PER_TURN = 256
"""Frames to receive, or to send, before the other direction has its turn."""
SEND_QUEUE_FRAMES = 64
"""ZeroMQ's send queue. The rest waits in the outbox, where it can still be dropped."""
LINGER_MS = 200
RECONNECT_MS = 20
"""Interval of connection attempts; ZeroMQ waits up to twice as long. Its default is 100 ms."""
ENDED_BY_GATEWAY = 70
"""Exit code after Quit (EX_SOFTWARE): supervisor starts the worker again."""
MAX_HEARTBEAT_SECONDS = 60.0


class Refusal(Exception):
    """The gateway rejects this worker for good."""


class Link:
    """Owns the socket. No method may be called from another thread, except `stop`."""

    def __init__(
        self, pump: Pump, outbox: Outbox, *, binding: str, slots: Callable[[], int],
        resumable: bool, address: str, secret: Callable[[], str], sandbox: dict[str, str],
        join_file: JoinFile | None = None, models: Callable[[], dict[str, int]] = dict,
    ) -> None:  # fmt: skip
        self._pump = pump
        self._outbox = outbox
        self._binding = binding
        self._slots = slots
        self._resumable = resumable
        self._address = address
        self._secret = secret
        self._sandbox = sandbox
        self._join_file = join_file
        self._models = models
        self._heartbeat = 0.0
        """Interval in seconds; 0 until the gateway has sent Welcome."""
        self._connected = False
        self._due = 0.0  # time of the next Hello or Heartbeat
        self._unsent: deque[bytes] = deque()  # frames of one message
        self._last = 0  # the highest id that this gateway has sent
        self._limited_log = RateLimitedLog(log)
        self._stopping = False

    def stop(self) -> None:
        """Make `serve` return. May be called from a signal handler."""
        self._stopping = True
        self._outbox.signal()

    def serve(self, finish: Callable[[], None]) -> None:
        """Serve whichever gateway runs at the address, until `stop`.

        Then call `finish`, and send the output that exists when it returns.
        Raise Refusal if the gateway rejects this worker, ZMQError for an invalid address.
        """
        with zmq.Context() as context, context.socket(zmq.DEALER) as self._socket:
            self._socket.linger = 0
            self._socket.reconnect_ivl = RECONNECT_MS
            self._socket.immediate = True  # do not queue frames for the next gateway
            self._socket.sndhwm = SEND_QUEUE_FRAMES
            self._socket.maxmsgsize = MAX_FRAME
            self._socket.identity = f"{self._binding}.{os.getpid()}.{secrets.token_hex(4)}".encode()
            if self._join_file:
                self._use_curve(self._join_file)
            events = (
                zmq.EVENT_HANDSHAKE_SUCCEEDED
                | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_DISCONNECTED
            )
            with self._socket.get_monitor_socket(events) as self._monitor:
                try:
                    self._socket.connect(self._address)
                    while not self._stopping:
                        self._poll()
                    finish()
                    self._send_output()
                    self._socket.linger = LINGER_MS
                finally:
                    self._socket.disable_monitor()

    def _use_curve(self, join_file: JoinFile) -> None:
        """Encrypt, and authenticate both the gateway and this worker."""
        key = join_file.worker_key.encode()
        self._socket.curve_secretkey = key
        self._socket.curve_publickey = zmq.curve_public(key)
        self._socket.curve_serverkey = join_file.gateway_key.encode()
        self._socket.ipv6 = True
        for option, value in TCP_KEEPALIVE.items():
            self._socket.setsockopt(getattr(zmq, option), value)

    def _poll(self) -> None:
        """Wait for events, and handle them."""
        poller = zmq.Poller()
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._outbox.fileno(), zmq.POLLIN)
        poller.register(self._socket, zmq.POLLIN | (zmq.POLLOUT if self._unsent else 0))
        timeout = None
        if self._connected:
            timeout = max(0, int((self._due - time.monotonic()) * 1000) + 1)
        events = dict(poller.poll(timeout))
        if self._monitor in events:
            self._handle_connection()
        if self._outbox.fileno() in events:
            self._outbox.lower()
        if self._socket in events:
            self._receive()
        if self._connected and time.monotonic() >= self._due:
            self._send_heartbeat()
        self._send_output()

    def _handle_connection(self) -> None:
        event = parse_monitor_message(self._monitor.recv_multipart())["event"]
        if event == zmq.EVENT_DISCONNECTED:
            if self._connected:
                log.info("the gateway has disconnected; waiting for the next one")
            self._connected = False
            self._drop_requests()
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise Refusal("it does not know this worker's key")
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._connected = True
            self._send_hello()

    def _send_heartbeat(self) -> None:
        """Send Heartbeat, or Hello before the gateway has accepted this worker."""
        if not self._heartbeat:
            return self._send_hello()
        if not self._unsent:
            pump = self._pump
            beat = Heartbeat(pump.steps, pump.active, pump.requests, self._last)
            self._try_to_send(encode(beat))
        self._due = time.monotonic() + self._heartbeat

    def _send_hello(self) -> None:
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
            mapped=self._pump.mapped,
            models=self._models(),
        )
        self._try_to_send(encode(hello))
        self._due = time.monotonic() + HELLO_SECONDS

    def _drop_requests(self) -> None:
        """Cancel all requests: their gateway is gone, or does not know them any more."""
        self._heartbeat = 0.0
        self._last = 0
        self._unsent.clear()
        self._outbox.clear()
        self._pump.cancel_all()

    def _receive(self) -> None:
        for _ in range(FRAMES_PER_TURN):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                if len(frames) != 1:
                    raise ProtocolError(f"expected one frame, got {len(frames)}")
                self._handle(decode(frames[0]))
            except ProtocolError as error:
                self._limited_log.warning("dropped a frame: %s", error)
                self._refuse(ids_of(frames[0]), error)

    def _refuse(self, ids: list[int], error: ProtocolError) -> None:
        """Fail requests that cannot be read; a request that runs is none of these."""
        running = set(self._pump.requests)
        for id in ids if self._heartbeat else ():
            if id not in running:
                self._outbox.put([Failed(id, ErrorCode.BAD_REQUEST, str(error))])

    def _handle(self, message: Message) -> None:
        match message:
            case Welcome(heartbeat=seconds):
                if not 0 < seconds <= MAX_HEARTBEAT_SECONDS:
                    raise ProtocolError(f"invalid heartbeat interval: {seconds} s")
                if self._heartbeat:  # a repeated Hello crossed the first Welcome: start over
                    self._drop_requests()
                log.info("the gateway accepted this worker")
                self._heartbeat = seconds
                self._due = 0.0
            case Refused(error=error):
                raise Refusal(error)
            case Introduce():
                self._drop_requests()
                self._send_hello()
            case _ if not self._heartbeat:
                raise ProtocolError(f"{type(message).__name__} before Welcome")
            case Quit(reason=reason):
                log.error("the gateway ends this worker: %s", reason)
                logging.shutdown()
                os._exit(ENDED_BY_GATEWAY)
            case Cancel(id=id):
                if not self._pump.cancel(id):
                    self._outbox.put([Finished(id, FinishReason.CANCELLED, 0)])
            case Credit(id=id, tokens=tokens):
                self._pump.grant(id, tokens)
            case Load() | Generate() | Tokenize() | Detokenize() | Embed():
                self._last = max(self._last, message.id)
                self._pump.submit(message)
            case _:
                raise ProtocolError(f"{type(message).__name__} is a message to gateways")

    def _send_output(self) -> None:
        if not self._heartbeat:
            return self._outbox.clear()
        for _ in range(FRAMES_PER_TURN):
            if not self._unsent:
                if not (message := self._outbox.take()):
                    break
                self._unsent.extend(self._encoded(message))
            if not self._try_to_send(self._unsent[0]):
                break
            self._unsent.popleft()
        else:
            self._outbox.signal()  # there may be more
        if self._outbox.relieved():
            self._pump.wake()

    def _encoded(self, message: Message) -> list[bytes]:
        """The frame; of what the gateway could not read the parts that it can, and failures."""
        frame = encode(message)
        if not (why := unsendable(message, frame)):
            return [frame]
        if isinstance(message, Chunks) and len(message.chunks) > 1:
            parts = [self._encoded(Chunks([chunk])) for chunk in message.chunks]
            return [frame for part in parts for frame in part]
        [id] = ids_of(frame)
        self._pump.cancel(id)
        error = f"the answer cannot be sent: {why}"
        return [encode(Failed(id, ErrorCode.BINDING_ERROR, error))]

    def _try_to_send(self, frame: bytes) -> bool:
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
