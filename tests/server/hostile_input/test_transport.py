"""Malformed frames get an answer or end the connection; other clients are not disturbed."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.engineio_lines import EngineIoConnection, Polling, Websocket, engineio_connection
from tests.support.harness import PATIENCE, ROOT, Home, home, run

ASKED = '42["list_active_personalities"]'
FRAMES: list[str | bytes] = [
    "", "0", "2", "6", "7", "9", "x", "²", "٣", "\0", "0{}", "2probe", "4", "42", "42[", "42[]",
    "42{}", "42[5]", "42[null]", "42[[]]", "42[{}]", '42["tokenize"', '42["tokenize",{]',
    "42" + "[" * 10_000, "4[[[[[" * 2000, '4{"a":' * 2000, "4null", "4[1,2]", "4{}", "45",
    "4true", "45[]", '44{"message":1}', "43[]", "437[]", '461-["a"]', "46[]", "47", "4x", "4 ",
    "4-", "4²", "42²", "42/", "42/admin", '42/admin,["tokenize",{"prompt":"x"}]',
    '42/admin,7["tokenize"]', "43/admin,1[]", "40", "40{", "40/admin", "40/admin,{}", "40/*",
    "40//", "40?token=1", "41/admin", "41/admin,", '42/?x,["tokenize"]',
    "42" + "9" * 5000 + '["tokenize"]', "42" + "9" * 16 + '["tokenize"]',
    "42[" + "9" * 5000 + "]", '42["a",NaN]', '42["a",1e999]', '42["\\ud800"]', '42["\ud800"]',
    '42["a\0"]', '42["a",]', '45999999999-["tokenize",{"prompt":{"_placeholder":true,"num":0}}]',
    '451000000000-["generate_text",{"_placeholder":true,"num":999999999}]',
    '4599999999999999-["tokenize"]', '450-["tokenize"]', '451-/admin,["tokenize"]', '451-"a"',
    "451-", '451-["tokenize",{"_placeholder":true,"num":"x"}]', "451-[{}]", "452-" + "[" * 10_000,
    "b", "bAAAA", "b!!!!", "b" + "A" * 5000, b"", b"\0", b"\x04[]", b"42[]", b"\xff\xfe" * 100,
    "4" + "x" * 5_000_000, '42["tokenize",{"prompt":"' + "x" * 5_000_000 + '"}]',
    '428["generate_text",{"prompt":"' + "é" * 4_000_000 + '"}]', "x" * 4_000_001, "3" * 4_000_001,
    "5", "3", "3x", "3" * 1000, "1", "1x", "41", "41[]", "41{",
]  # fmt: skip
NO_REQUEST = ("3", "5")
"""Pong and the last frame of an upgrade: packets of Engine.IO that get no answer."""
GOODBYE = ("1", "41")
NO_UTF8 = '42["\ud800"]'
"""RFC 6455 requires to fail the connection."""


def mutated(count: int) -> list[str | bytes]:
    """Valid frames with characters changed, removed or doubled; the same in each run."""
    dice = random.Random(7)
    good = [
        '421["generate_text",{"prompt":"x","n_predicts":2,"parameters":{"top_k":3}}]',
        '42["select_model",{"model_name":"lorem"}]', '4223["detokenize",{"tokens":[1,2,3]}]',
        '451-["tokenize",{"prompt":{"_placeholder":true,"num":0}}]', ASKED,
    ]  # fmt: skip
    frames: list[str | bytes] = []
    while len(frames) < count:
        text = list(dice.choice(good))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(text))
            change = dice.choice(["change", "cut", "double"])
            if change == "change":
                text[at] = chr(dice.choice([0, 32, 34, 44, 47, 48, 50, 91, 93, 123, 125, 0x2028]))
            elif change == "cut":
                del text[at]
            else:
                text[at:at] = text[at : at + dice.randint(1, 20)]
        frames.append("".join(text))
    return frames


def is_answer(packet: str) -> bool:
    return packet.startswith(("42[", "44")) and not packet.startswith('42["text_chunk"')


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [Websocket, Polling])
def test_raw_frames(
    server: Home, block: Callable[..., Any], kind: type[EngineIoConnection]
) -> None:
    frames = [*FRAMES, *mutated(120)]
    counts: Counter[str] = Counter(frames=len(frames))
    silent = []

    async def one(frame: str | bytes) -> None:
        async with engineio_connection(server, kind) as connected:
            start = len(connected.packets)
            with suppress(ConnectionError):  # may be closed while a long frame is being sent
                await connected.send(frame)
            pong = isinstance(frame, str) and frame.startswith(NO_REQUEST) and len(frame) < 2000
            if not pong and not str(frame).startswith(GOODBYE):
                with suppress(TimeoutError):
                    await connected.until(is_answer, start)
            received = await connected.received_since(start)
            if pong:
                counts["need no answer"] += 1
                assert not received or frame[0] == "5"
            elif connected.closed or "41" in received:
                counts["ended the connection"] += 1
                told = len(frame) < 2_000_000 or any("bytes" in packet for packet in received)
                assert told or str(frame).startswith(GOODBYE) or frame == NO_UTF8, frame[:80]
            elif any(map(is_answer, received)):
                counts["answered"] += 1
                assert (
                    sum(
                        not packet.startswith(('42["text_chunk"', "43", "4["))
                        for packet in received
                    )
                    <= 2
                )
            elif isinstance(frame, str) and frame.startswith(GOODBYE):
                counts["ended the session"] += 1
            else:
                counts["silences"] += 1
                silent.append((frame[:80], received))

    async def scenario() -> None:
        for frame in frames:
            await one(frame)

    counts["silences"] = 0
    with block(f"raw frames, {kind.__name__.lower()}", counts, changes=True):
        run(scenario(), 280)
        assert not silent, "\n".join(map(str, silent))


def test_more_bytes_than_a_client_may_send_are_refused_and_nobody_else_s(tmp_path: Path) -> None:
    settings = {"bindings_path": str(ROOT / "bindings"), "max_frame": "10000"}

    async def scenario(server: Home) -> tuple[list[str], str]:
        async with engineio_connection(server) as one, engineio_connection(server) as other:
            event = '42["list_active_personalities",{"x":"' + "x" * 9_900 + '"}]'
            await one.send(*[event] * 12)
            answers: list[str] = []
            while len(answers) < 12:
                answers = [p for p in await one.received_since(0) if "personalities_list" in p]
            await other.send(ASKED)
            return answers, await other.until(lambda packet: "personalities_list" in packet)

    with home(tmp_path, **settings) as server:
        server.gateway()
        answers, other = run(scenario(server))
    refused = [answer for answer in answers if '"success":false' in answer]
    assert 0 < len(refused) <= 8 and len(answers) == 12
    assert all("20,000 bytes per second" in answer for answer in refused)
    assert '"success":true' in other


PING, PONG, PACKET = b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0", b"\x81\x81\0\0\0\0" + b"3"


@pytest.mark.parametrize("frame", [PING, PONG, PACKET], ids=["pings", "pongs", "packets"])
def test_a_flood_of_pings_or_pongs_ends_the_connection(server: Home, frame: bytes) -> None:
    """Each costs the gateway as much as an event, and is no event."""

    async def scenario() -> None:
        async with aiohttp.ClientSession() as http:
            url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
            async with http.ws_connect(url, autoping=False) as websocket:
                connection = websocket._response.connection  # it takes any bytes
                assert connection and connection.transport
                connection.transport.write(frame * 500)
                await websocket.send_str("40")
                while not str((await websocket.receive(timeout=PATIENCE)).data).startswith("42"):
                    pass
                connection.transport.write(frame * 5000)
                while not (await websocket.receive(timeout=PATIENCE)).type.name.startswith("CLOS"):
                    pass

    run(scenario())
