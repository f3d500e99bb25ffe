"""Long honest work: a prompt that takes long is served, and nobody waits for somebody else's."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.random_model import Shape, write
from protocol.messages import Cancel, Embed, Embedded, Finished, Heartbeat
from protocol.sampling import Sampling
from tests.support.fake_gateway import Gateway, worker
from tests.support.harness import Client, Home, client, home, run

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

SLOW = Shape(width=512, layers=8, heads=8, feed_forward=1024, vocabulary=2048, context=16_384)
LETTERS = "".join(chr(97 + n * n * 7 % 26) for n in range(20_000))
GREEDY = {"temperature": 0, "ignore_eos": True}
EMBEDS = 30


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("model") / "slow.gguf", SLOW)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, slow: Path) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("long")
    models = folder / "models" / "llama_cpp"
    models.mkdir(parents=True)
    (models / slow.name).write_bytes(slow.read_bytes())
    (folder / "config.yaml").write_text(
        "bindings: {llama_cpp: {n_ctx: 16384, n_threads: 1, n_batch: 16384}}\n"
    )
    with home(folder, binding_name="llama_cpp", model_name=slow.name, stall_limit="2") as opened:
        opened.launch()
        yield opened


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home(tmp_path_factory.mktemp("pebble")) as opened:
        opened.launch()
        yield opened


async def short(connected: Client, number: int) -> float:
    """Seconds to the first token of a short prompt that nobody has asked before."""
    before = time.monotonic()
    await connected.emit(
        "generate_text", {"prompt": f"{number} is new", "n_predicts": 1, "parameters": GREEDY}
    )
    await connected.next("text_chunk")
    took = time.monotonic() - before
    await connected.next("text_generated")
    return took


def test_a_prompt_of_many_stall_limits_is_served_and_nobody_waits_for_it(server: Home) -> None:
    """With `n_batch` as large as the context, the prompt was one step: `hung`."""

    async def scenario() -> None:
        async with client(server) as long, client(server) as newcomer:
            await short(newcomer, 0)
            fields = {"prompt": LETTERS[:12_000], "n_predicts": 2, "parameters": GREEDY}
            began = time.monotonic()
            await long.emit("generate_text", fields)
            waits = []
            while not any(name == "text_chunk" for name, _ in long.events):
                waits.append(await short(newcomer, len(waits) + 1))
                assert not any(name == "generation_error" for name, _ in long.events), long.events
                await asyncio.sleep(0.3)
            took = time.monotonic() - began
            end = (await long.until("text_generated"))[-1][1]
            assert end["tokens"] == 2 and end["prompt_tokens"] > 6000
            assert took > 8, "the machine is too fast for this test"
            assert sorted(waits)[len(waits) // 2] < 1.0, waits
            assert max(waits) < 4.0, waits  # others may use this machine
            assert 'reason="hung"' not in server.http("/metrics")[1]

    run(scenario(), 90)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, slow: Path) -> Iterator[Gateway]:
    """Of a real worker with the slow model, whose heartbeats come every 10 ms."""
    folder = tmp_path_factory.mktemp("worker")
    address = f"ipc://{folder}/gateway"
    flags = ("--gateway", address, "--sandbox", "no")
    with Gateway(address) as opened, worker("llama_cpp", folder, *flags):
        opened.welcome(heartbeat=0.01)
        settings = {"n_threads": 1, "n_ctx": 16384, "n_batch": 16384}
        opened.load(slow.name, path=str(slow), settings=settings)
        yield opened


def longest_standstill(gateway: Gateway, id: int) -> tuple[float, float]:
    """Seconds in which `steps` stood still at most, and until the answer to `id`."""
    began = changed = time.monotonic()
    steps, longest = -1, 0.0
    while True:
        message = gateway.receive()
        now = time.monotonic()
        if isinstance(message, Heartbeat) and message.steps != steps:
            longest = max(longest, now - changed)
            steps, changed = message.steps, now
        if getattr(message, "id", None) == id:
            return max(longest, now - changed), now - began


def test_a_prompt_of_twenty_stall_limits_is_seen_to_advance(gateway: Gateway) -> None:
    """So with a stall limit of a twentieth of the time it takes, it is served.

    The best of three: another program may have stopped this one for a while.
    """
    shares = []
    for letter in "abc":
        prompt = letter + LETTERS[:9_000]
        id = gateway.generate(prompt, n_predict=1, sampling=Sampling(temperature=0))
        stood_still, took = longest_standstill(gateway, id)
        assert isinstance(gateway.answer(id), Finished)
        assert took > 2, "the machine is too fast for this test"
        shares.append(stood_still / took)
        if shares[-1] < 1 / 20:
            return
    raise AssertionError(shares)


def test_a_cancel_ends_the_embedding_of_a_long_text_at_once(gateway: Gateway) -> None:
    took = []
    for _ in range(5):
        id = gateway.id()
        gateway.send(Embed(id, LETTERS[:2000]))
        gateway.settle()  # it is computed
        began = time.monotonic()
        gateway.send(Cancel(id))
        assert isinstance(gateway.answer(id), Finished)
        took.append(time.monotonic() - began)
    assert sorted(took)[1] < 0.2, took  # another program may have stopped this one
    id = gateway.id()
    gateway.send(Embed(id, LETTERS[:2000]))
    began = time.monotonic()
    assert isinstance(gateway.answer(id), Embedded)
    assert time.monotonic() - began > 0.5, "the text is too short for this test"


async def embed_all(server: Home, done: asyncio.Event) -> int:
    """One client that always has `EMBEDS` under way."""
    answered = 0
    async with client(server) as indexing:
        text = "Once upon a time a bear slept in the wood, and nobody dared to wake it. " * 10
        for number in range(EMBEDS):
            await indexing.emit("embed", {"prompt": f"{number} {text}"})
        while not done.is_set():
            answer = (await indexing.next("embeded"))[1]
            assert answer["success"], answer
            answered += 1
            await indexing.emit("embed", {"prompt": f"{answered} {text}"})
    return answered


def test_a_generation_goes_on_while_another_client_embeds(pebble: Home) -> None:
    async def scenario() -> None:
        async with client(pebble) as bystander:
            fields = {"prompt": "Once upon a time", "n_predicts": 900, "parameters": GREEDY}
            await bystander.emit("generate_text", fields)
            await bystander.next("text_chunk")
            done = asyncio.Event()
            indexing = asyncio.create_task(embed_all(pebble, done))
            times = [time.monotonic()]
            while (await bystander.next("text_chunk", "text_generated"))[0] == "text_chunk":
                times.append(time.monotonic())
                if times[-1] - times[0] > 5:
                    await bystander.emit("cancel_generation")
            done.set()
            assert await indexing >= 5
            gaps = [b - a for a, b in itertools.pairwise(times)]
            assert len(gaps) > 20 and max(gaps) < 0.3, sorted(gaps)[-5:]

    run(scenario())
