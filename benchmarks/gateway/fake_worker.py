"""Fake worker: speaks our protocol and makes up tokens without computing.

    python -m benchmarks.gateway.fake_worker HOME MODE

MODE `steps` sends the tokens of one step in one message, as our workers do; `tokens`
sends a message for every token, as a straightforward implementation would. The prompt is
the rate in tokens per second, 0 for as many as the credit allows. Prints the time at
which each cancelled request stopped.
"""

import os
import sys
import time
from pathlib import Path

import msgpack
import zmq

from protocol import PROTOCOL_VERSION
from protocol.codec import decode, encode
from protocol.messages import (
    Cancel,
    Credit,
    Finished,
    Generate,
    Heartbeat,
    Hello,
    Introduce,
    Load,
    Loaded,
    Welcome,
)
from protocol.run_folder import run_folder, secret_file, workers_address

PHASES = 4
"""Requests are spread over so many phases of a step, as if they were on as many workers: then
a step brings the tokens of 16 slots at once."""
SLOTS = 1000


class Stream:
    __slots__ = ("cancelled", "credit", "due", "id", "left", "pace", "sent")

    def __init__(self, request: Generate, phase: int) -> None:
        self.id = request.id
        self.pace = float(request.prompt)
        self.left = request.n_predict
        self.sent = 0
        self.cancelled = False
        self.credit = request.credit
        self.due = 0.0
        if self.pace:
            step = 1 / self.pace
            self.due = (time.monotonic() // step + 2 + phase / PHASES) * step


def main() -> None:
    home, mode = Path(sys.argv[1]), sys.argv[2]
    run = run_folder(home)
    socket = zmq.Context().socket(zmq.DEALER)
    socket.identity = f"echo.{os.getpid()}.0000".encode()
    socket.connect(workers_address(run))
    secret = (
        secret_file(run, "echo").read_text().strip() if secret_file(run, "echo").exists() else ""
    )
    hello = encode(Hello(PROTOCOL_VERSION, "echo", os.getpid(), SLOTS, secret=secret))
    socket.send(hello)
    streams: dict[int, Stream] = {}
    count = 0
    beat = time.monotonic() + 1
    while True:
        now = time.monotonic()
        if now > beat:
            beat = now + 1
            socket.send(encode(Heartbeat(count + int(now), len(streams))))
        waiting = [s.due for s in streams.values() if s.pace]
        flooding = any(not s.pace and (s.credit > 0 or s.cancelled) for s in streams.values())
        wait = 0.0 if flooding else min(waiting, default=now + 1) - now
        if socket.poll(max(0, int(wait * 1000 + 0.999))):
            while True:
                try:
                    message = decode(socket.recv(zmq.NOBLOCK))
                except zmq.Again:
                    break
                match message:
                    case Introduce():
                        socket.send(hello)
                    case Load(id=id, model=model):
                        socket.send(encode(Loaded(id, model, 0, SLOTS)))
                    case Generate(id=id):
                        streams[id] = Stream(message, count % PHASES)
                        count += 1
                    case Credit(id=id, tokens=tokens) if id in streams:
                        streams[id].credit += tokens
                    case Cancel(id=id) if id in streams:
                        streams[id].cancelled = True
                    case Welcome():
                        pass
        step(socket, streams, mode)


def step(socket: zmq.Socket[bytes], streams: dict[int, Stream], mode: str) -> None:
    now = time.monotonic()
    chunks, ended = [], []
    text = f"{now:.6f} "
    for stream in streams.values():
        if stream.pace and stream.due > now:
            continue
        if stream.cancelled:  # noticed at the end of a step, as with a real model
            print(now, flush=True)
            ended.append(stream)
            continue
        if stream.credit <= 0:
            continue
        if stream.pace:
            stream.due += 1 / stream.pace
        stream.sent += 1
        stream.credit -= 1
        chunks.append((stream.id, text, (stream.sent & 255,), 1))
        if stream.sent >= stream.left:
            ended.append(stream)
    if mode == "steps" and chunks:
        socket.send(msgpack.packb(("Chunks", {"chunks": chunks})))
    elif chunks:
        for chunk in chunks:
            socket.send(msgpack.packb(("Chunks", {"chunks": (chunk,)})))
    for stream in ended:
        del streams[stream.id]
        socket.send(
            encode(Finished(stream.id, "cancelled" if stream.cancelled else "length", stream.sent))
        )


if __name__ == "__main__":
    main()
