"""Is ZeroMQ's descriptor read to its end, whatever else uses the socket?"""

import asyncio
import select
import time
from pathlib import Path

import zmq

from gateway.workers.zmq_router import Router

PATIENCE = 10.0


def late_answer(router: Router) -> None:
    """Send when libzmq looks at its mailbox again, which it does once in a millisecond or so."""
    time.sleep(0.01)
    router.send(b"peer", b"answer")


def test_what_arrives_during_a_send_is_read(tmp_path: Path) -> None:
    """The descriptor tells of it once, and the send takes that away."""

    async def scenario() -> None:
        arrived: asyncio.Queue[list[bytes]] = asyncio.Queue()

        def take(sender: zmq.Frame, frames: list[bytes]) -> None:
            arrived.put_nowait([sender.bytes, *frames])

        async with Router(f"ipc://{tmp_path}/s", take) as router:
            with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
                peer.linger = 0
                peer.identity = b"peer"
                peer.connect(f"ipc://{tmp_path}/s")
                peer.send(b"first")
                async with asyncio.timeout(PATIENCE):
                    assert await arrived.get() == [b"peer", b"first"]
                    await asyncio.sleep(0.05)  # the loop has nothing more to do

                    # From here on the loop stands still until the send is done.
                    peer.send(b"late")
                    assert select.select([router._descriptor], [], [], PATIENCE)[0]
                    late_answer(router)
                    assert not select.select([router._descriptor], [], [], 0)[0], "no trap here"

                    assert await arrived.get() == [b"peer", b"late"]

    asyncio.run(scenario())
