"""Only who connected, and what its connection proves, decides who joins and who is signalled."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio

from gateway.workers.handshake import Handshake
from gateway.workers.handshake import Peer as Connected
from gateway.workers.health_monitor import HealthMonitor
from gateway.workers.key_watch import KeyWatch
from gateway.workers.strangers import ANSWER_SECONDS, MANY, Strangers
from gateway.workers.worker import Worker
from gateway.workers.zmq_router import RemoteEndpoint, Router, peer_of
from protocol import PROTOCOL_VERSION
from protocol.messages import Heartbeat, Hello, Introduce, Quit, Refused, Tokenize, Welcome
from tests.gateway.workers.test_link import REMOTE_SECRET, Peer, Place, child, place
from tests.support.harness import PATIENCE, free_port, run

BEAT = 0.2
"""Seconds between heartbeats; a worker is silent after three."""


@contextlib.asynccontextmanager
async def watched(folder: Path, stall_limit: float = 0.0) -> AsyncIterator[Place]:
    """A link for local and remote workers, and the checks of their health."""

    async def stays(worker: Worker) -> bool:
        return False

    public, secret = zmq.curve_keypair()
    remote = RemoteEndpoint(f"tcp://127.0.0.1:{free_port()}", secret, lambda key: True)
    async with place(folder, heartbeat=BEAT, remote=remote) as here:
        here.gateway_key, here.remote_address = public, remote.address
        health = HealthMonitor(
            here.link,
            stays,
            stall_limit=stall_limit,
            load_limit=0.0,
            keep_alive=lambda worker: 0.0,
        )
        task = asyncio.create_task(health.run())
        try:
            yield here
        finally:
            task.cancel()


def remote_peer(here: Place, name: str = "far", pid: int = 4711) -> Peer:
    dealer = here.context.socket(zmq.DEALER)
    here.dealers.append(dealer)
    dealer.linger = 0
    dealer.identity = f"echo.{pid}.{name}".encode()
    dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
    dealer.curve_serverkey = here.gateway_key
    dealer.connect(here.remote_address)
    return Peer(dealer, dealer.identity)


@contextlib.contextmanager
def bystander() -> Any:
    process = subprocess.Popen(["sleep", "100"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


# Who connected.


def test_a_hello_with_the_pid_of_another_process_is_refused_and_that_process_lives(
    tmp_path: Path,
) -> None:
    async def scenario(other: int) -> None:
        async with watched(tmp_path) as here:
            peer = here.peer("forged", pid=other)
            answer = await peer.hello(host=os.uname().nodename)
            assert isinstance(answer, Refused), "and not welcome as that process"
            assert f"process {os.getpid()} connected" in answer.error
            assert here.fleet.all() == []
            with child(here.address) as silent:  # it came later, and is killed
                assert await asyncio.to_thread(silent.wait, PATIENCE) == -signal.SIGKILL

    with bystander() as process:
        run(scenario(process.pid))
        assert process.poll() is None


def test_a_child_cannot_say_hello_as_its_parent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with watched(tmp_path) as here:
            with child(here.address, pid=os.getpid()) as process:
                assert process.stdout
                said = await asyncio.to_thread(process.stdout.readline)
                assert said.startswith(b"Refused") and f"process {process.pid}".encode() in said
                assert here.fleet.all() == []

    run(scenario())


def test_an_identity_that_names_another_process_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            answer = await here.peer("forged", pid=os.getppid()).hello(pid=os.getpid())
            assert isinstance(answer, Refused) and "identity" in answer.error

    run(scenario())


def test_only_the_process_that_connected_is_watched(tmp_path: Path) -> None:
    """A remote worker takes the identity of a local one whose connection is gone."""

    async def scenario(process: "subprocess.Popen[bytes]") -> None:
        async with watched(tmp_path, stall_limit=4 * BEAT) as here:
            far = remote_peer(here, "child", process.pid)
            assert isinstance(await far.hello(secret=REMOTE_SECRET), Welcome)
            [worker] = here.fleet.all()
            assert worker.remote and not here.link._watches

    with bystander() as process:
        run(scenario(process))
        assert process.poll() is None


def test_the_socket_tells_who_connected_and_takes_no_other_word_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        arrived: asyncio.Queue[tuple[Connected, list[bytes]]] = asyncio.Queue()

        def take(sender: zmq.Frame, frames: list[bytes]) -> None:
            arrived.put_nowait((peer_of(sender), frames))

        async with Router(f"ipc://{tmp_path}/s", take) as router, asyncio.timeout(PATIENCE):
            with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
                peer.linger = 0
                peer.identity = b"localhost:0:0:1"
                peer.setsockopt(zmq.METADATA, b"X-User-Id:somebody")
                peer.connect(f"ipc://{tmp_path}/s")
                for frames in ([b"one"], [b"two", b"more", b""], [b""], [b"three"]):
                    peer.send_multipart(frames)
                    who, came = await arrived.get()
                    assert (who, came) == (Connected(pid=os.getpid()), frames)
                assert router._socket.closed is False

    run(scenario())


HELLO = Hello(PROTOCOL_VERSION, "echo", 4711, 1, secret="s")


class Secrets:
    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def get(self, binding: str) -> str:
        return self.known.get(binding, "")

    def create(self, binding: str) -> bool:
        return not self.get(binding) and bool(self.known.setdefault(binding, "s"))


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        (Connected(pid=4711), ""),
        (Connected(), ""),  # the system does not say; nothing is signalled then
        (Connected(pid=4712), "process 4712 connected"),
        (Connected(pid=4711, same_user=False), "another user"),
        (Connected(remote=True, key="known"), ""),
        (Connected(remote=True, key="other"), "does not belong to its key"),
        (Connected(remote=True), "does not belong to its key"),
    ],
)
def test_the_connection_decides(peer: Connected, reason: str) -> None:
    secrets = Secrets()
    secrets.create("echo")

    def entry_of(key: str, secret: str) -> str:
        return "entry" if (key, secret) == ("known", "s") else ""

    handshake = Handshake(secrets, lambda name: True, entry_of)
    objection = handshake.objection(b"echo.4711.x", HELLO, peer)
    assert reason in objection and bool(reason) == bool(objection)


def test_a_remote_worker_is_not_let_in_with_the_secret_of_a_local_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with watched(tmp_path) as here:
            answer = await remote_peer(here).hello()
            assert isinstance(answer, Refused) and "key" in answer.error
            answer = await here.peer("near").hello(secret=REMOTE_SECRET)
            assert isinstance(answer, Refused) and "secret" in answer.error

    run(scenario())


# Whose binding.


def test_a_worker_cannot_say_hello_as_another_binding(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer, worker = await here.worker()
            forged = await here.peer("forged", binding="private").hello()
            assert isinstance(forged, Refused) and "for its binding" in forged.error
            assert here.fleet.all() == [worker]
            await here.serves(peer, worker)

    run(scenario())


def test_a_worker_of_a_new_binding_may_say_hello_again_with_the_secret_it_gets() -> None:
    secrets = Secrets()
    handshake = Handshake(secrets, lambda name: name == "echo")
    here = Connected(pid=4711)
    unknown = Hello(PROTOCOL_VERSION, "../echo", 4711, 1)
    assert not handshake.too_early(unknown, here) and not secrets.known
    assert not handshake.too_early(HELLO, Connected(remote=True)) and not secrets.known
    assert handshake.too_early(HELLO, here)
    assert not handshake.too_early(HELLO, here)
    assert handshake.objection(b"echo.4711.x", HELLO, here) == ""


# Remote workers.


def test_a_hung_remote_worker_is_told_to_quit_and_stays_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with watched(tmp_path, stall_limit=6 * BEAT) as here:
            far = remote_peer(here)
            assert isinstance(await far.hello(secret=REMOTE_SECRET), Welcome)
            [worker] = here.fleet.all()
            async with here.link.request(worker, lambda id: Tokenize(id, "x")), asyncio.timeout(9):
                await far.receive()
                while here.fleet.all():
                    await far.send(Heartbeat(1, 1))
                    await asyncio.sleep(BEAT / 4)
            quit = await far.receive()
            assert isinstance(quit, Quit) and "no progress" in quit.reason
            back = await far.hello(secret=REMOTE_SECRET)
            while isinstance(back, Quit):  # it had sent heartbeats
                back = await far.receive()
            assert isinstance(back, Refused) and "no progress" in back.error
            await asyncio.sleep(0)
            assert here.fleet.all() == []
            successor = remote_peer(here, "its.successor")
            assert isinstance(await successor.hello(secret=REMOTE_SECRET), Welcome)

    run(scenario())


def test_a_remote_worker_behind_a_broken_line_may_come_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with watched(tmp_path) as here:
            far = remote_peer(here)
            assert isinstance(await far.hello(secret=REMOTE_SECRET), Welcome)
            await here.log.until("lost")
            await far.send(Heartbeat(1, 0))
            assert isinstance(await far.receive(), Introduce)
            assert isinstance(await far.hello(secret=REMOTE_SECRET, model="kept"), Welcome)

    run(scenario())


def test_a_withdrawn_key_ends_the_connection_at_the_second_look(tmp_path: Path) -> None:
    async def scenario() -> None:
        listed = True
        async with place(tmp_path) as near, watched(tmp_path / "far") as here:
            await near.worker()
            far = remote_peer(here)
            assert isinstance(await far.hello(secret=REMOTE_SECRET), Welcome)
            watch = KeyWatch(here.link, lambda entry: listed)
            watch.check()
            listed = False
            watch.check()
            listed = True  # an editor was writing
            watch.check()
            listed = False
            watch.check()
            assert here.fleet.all()
            watch.check()
            assert here.fleet.all() == []
            assert ("lost", "was dismissed: its key was withdrawn") in here.log.news
            for _ in range(2):
                answer = await far.receive()
                assert isinstance(answer, Refused) and answer.error == "its key was withdrawn"
                await far.send(Heartbeat(1, 0))
            local = KeyWatch(near.link, lambda entry: False)
            local.check()
            local.check()
            assert near.fleet.all(), "a local worker has no key"

    (tmp_path / "far").mkdir()
    run(scenario())


# Strangers.


def test_frames_that_have_piled_up_are_answered_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with place(tmp_path) as here:
            peer = here.peer("cut.off")
            for step in range(100):
                await peer.send(Heartbeat(step, 0))
            answers = []
            began = time.monotonic()
            while time.monotonic() < began + 0.3:
                with contextlib.suppress(TimeoutError):
                    answers.append(await asyncio.wait_for(peer.receive(), 0.1))
            assert answers == [Introduce()]

    run(scenario())


def test_a_stranger_is_answered_once_a_second() -> None:
    strangers = Strangers(dismissal=10)
    assert strangers.answer(b"one", 0) == Introduce()
    assert strangers.answer(b"one", ANSWER_SECONDS / 2) is None
    assert strangers.answer(b"two", ANSWER_SECONDS / 2) == Introduce()
    assert strangers.answer(b"one", ANSWER_SECONDS) == Introduce()
    strangers.forget(b"one")
    assert strangers.answer(b"one", ANSWER_SECONDS) == Introduce()


def test_a_flood_of_identities_is_not_remembered() -> None:
    strangers = Strangers()
    for number in range(2 * MANY):
        strangers.answer(str(number).encode(), 0)
    assert strangers.answer(b"late", 0) is None
    assert strangers.answer(b"late", ANSWER_SECONDS) == Introduce()


def test_a_dismissed_worker_hears_why_for_a_while() -> None:
    strangers = Strangers(dismissal=10)
    strangers.dismiss(b"hung", Quit("it hung"), 0)
    assert strangers.objection(b"hung", 9) == "it hung"
    assert strangers.answer(b"hung", 9) == Quit("it hung")
    assert strangers.objection(b"other", 9) == ""
    assert strangers.objection(b"hung", 10) == ""
    assert strangers.answer(b"hung", 10) == Introduce()
