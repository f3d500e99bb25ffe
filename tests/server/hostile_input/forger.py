"""Send frames to the workers' socket, as a process of its own: `forger.py ADDRESS BINDING NAME`.

The gateway ends a silent worker by the pid of the process that connected, so this must not be
the process of the tests. A line of the standard input is a list of frames in hexadecimal; the
secret in place of a list says Hello, and is answered with the gateway's epoch.
"""

import json
import os
import select
import sys

import zmq

from protocol import PROTOCOL_VERSION
from protocol.codec import decode, encode
from protocol.messages import Heartbeat, Hello, Welcome


def main() -> None:
    address, binding, name = sys.argv[1:]
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.identity = f"{binding}.{os.getpid()}.{name}".encode()
        dealer.connect(address)
        joined = False
        source = os.fdopen(0, "rb", buffering=0)  # select sees no line in a buffer
        while True:
            if not select.select([source], [], [], 0.5)[0]:
                if joined:
                    dealer.send(encode(Heartbeat(0, 0)))
                continue
            line = source.readline()
            if not line:
                return
            order = json.loads(line)
            if isinstance(order, list):
                dealer.send_multipart([bytes.fromhex(frame) for frame in order])
                continue
            said = Hello(PROTOCOL_VERSION, binding, os.getpid(), 1, order, host="elsewhere")
            dealer.send(encode(said))
            while not isinstance(answer := decode(dealer.recv()), Welcome):
                pass
            joined = True
            print(answer.epoch, flush=True)


if __name__ == "__main__":
    main()
