"""Logs contain each request, and never what a client sent."""

import asyncio
import contextlib
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from protocol.logs import Json, OneLine, escaped, level_and_text, with_fields
from tests.server.security.test_access import refused
from tests.support.harness import PATIENCE, ROOT, Client, Home, client, home, run, until

CANARY = "canary7f3e"
TOKEN = f"{CANARY}-token-of-somebody"
ECHO = {"bindings_path": str(ROOT / "bindings"), "binding_name": "echo", "model_name": "echo"}

PAYLOADS: dict[str, list[Any]] = {
    "list_available_bindings": [{CANARY: CANARY}, CANARY],
    "list_available_personalities": [CANARY],
    "list_available_personalities_languages": [CANARY],
    "list_available_personalities_categories": [{"language": CANARY}, CANARY],
    "list_available_personalities_names": [{"language": CANARY, "category": CANARY}],
    "list_available_models": [CANARY],
    "select_binding": [{"binding_name": CANARY}, CANARY],
    "select_model": [{"model_name": CANARY}, {"model_name": f"../{CANARY}"}],
    "add_personality": [{"path": f"english/fun/{CANARY}"}, {"path": CANARY}],
    "activate_personality": [{"id": CANARY}, {"personality_name": CANARY}],
    "list_active_personalities": [CANARY],
    "embed": [{"prompt": CANARY}],
    "tokenize": [{"prompt": CANARY}],
    "detokenize": [{"tokens": [CANARY]}, {"prompt": CANARY}],
    "generate_text": [
        {"prompt": CANARY},
        {"prompt": CANARY, "personality": CANARY},
        {"prompt": CANARY, "parameters": {"stop": [CANARY], CANARY: 1, "temperature": CANARY}},
        {"prompt": CANARY, "parameters": {"grammar": CANARY}},
    ],
    "cancel_generation": [CANARY],
    CANARY: [CANARY],
    f"{CANARY}\x1b[31m\r\n2026-01-01 00:00:00,000 CRITICAL gateway: forged": [{}],
    "connect": [{CANARY: 1}],
    "disconnect": [CANARY],
}


async def send_everything(server: Home) -> int:
    """Send each event with each of its payloads; return the number of answers."""
    answered = 0
    async with client(server, auth={"token": TOKEN, "session": CANARY}) as one:
        for event, payloads in PAYLOADS.items():
            for payload in payloads:
                await one.sio.call(event, payload, timeout=20)
                answered += 1
    return answered


async def send_without_session(server: Home) -> None:
    """Send refused connects, HTTP requests and a raw websocket."""
    for options in (
        {"auth": {"token": f"{CANARY}-wrong", "session": CANARY}},
        {"auth": CANARY},
        {"headers": {"Authorization": f"Bearer {CANARY}-wrong"}},
        {"headers": {"Origin": "https://evil.example"}},
    ):
        await refused(server, transports=["websocket"], **options)
    async with aiohttp.ClientSession() as http:
        for path in ("ready", CANARY, f"personalities/{CANARY}/logo.png", f"ready?token={TOKEN}"):
            for headers in ({}, {"Authorization": f"Bearer {CANARY}"}):
                async with http.get(f"{server.url}/{path}", headers=headers):
                    pass
        websocket = f"{server.url}/socket.io/?EIO=4&transport=websocket&token={TOKEN}"
        async with http.ws_connect(websocket) as raw:
            await raw.send_str(f'40{{"token":"{CANARY}"}}')
            assert CANARY not in await raw.receive_str() + await raw.receive_str()


@pytest.fixture(scope="module", params=["text", "json"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    with home(
        tmp_path_factory.mktemp(request.param), **ECHO, log_format=request.param, api_key=TOKEN
    ) as opened:
        opened.headers = {"Authorization": f"Bearer {TOKEN}"}
        opened.launch()
        yield opened


def logs(server: Home) -> dict[str, str]:
    return {path.name: path.read_text() for path in (server.folder / "logs").iterdir()}


def lines_with(server: Home, text: str) -> list[str]:
    return [line for line in logs(server)["gateway.log"].splitlines() if text in line]


def test_nothing_that_a_client_sends_is_in_any_log(server: Home) -> None:
    count = run(send_everything(server))
    run(send_without_session(server))
    until(
        lambda: len(lines_with(server, "gateway.observability.request_log")) >= count,
        "the last entry",
    )
    written = logs(server)
    assert len(lines_with(server, "gateway.observability.request_log")) == count, (
        "one entry for each request"
    )
    assert "echo_00.log" in written and "supervisord.log" in written
    for name, text in written.items():
        assert CANARY not in text, [line for line in text.splitlines() if CANARY in line]
        assert "forged" not in text and not escaped(text.replace("\n", "")).count("\\x"), name
        assert "Traceback" not in text, name


@pytest.mark.parametrize("frame", [
    f"4{CANARY}", f"42{CANARY}", f'42["{CANARY}"', f'42["generate_text",{{"prompt":"{CANARY}"}}',
    f'451-["{CANARY}",{{"_placeholder":true,"num":0}}]', f"43{CANARY}", f"44{CANARY}",
    f'42/{CANARY},["x"]', f'40/{CANARY},{{"token":"{CANARY}"}}', f"9{CANARY}", CANARY,
    f'42[{{"{CANARY}":1}}]', f'42["generate_text","{CANARY}\\ud800"]',
])  # fmt: skip
def test_nor_is_what_comes_in_broken_frames(server: Home, frame: str) -> None:
    async def scenario() -> None:
        async with aiohttp.ClientSession() as http:
            url = f"{server.url}/socket.io/?EIO=4&transport=websocket"
            async with http.ws_connect(url) as raw:
                await raw.receive_str()
                await raw.send_str(f'40{{"token":"{TOKEN}"}}')
                await raw.receive_str()
                await raw.send_str(frame)
                with contextlib.suppress(ConnectionError):  # some frames close the connection
                    await raw.send_str('42["list_active_personalities"]')
                async with asyncio.timeout(PATIENCE):
                    async for message in raw:
                        if "active_personalities_list" in str(message.data):
                            break
        async with client(server, auth={"token": TOKEN}) as one:
            await one.settle()

    run(scenario())
    for text in logs(server).values():
        assert CANARY not in text, [line for line in text.splitlines() if CANARY in line]
        assert "Traceback" not in text


def test_a_generation_has_its_ids_times_and_counts_in_its_line(server: Home) -> None:
    async def scenario() -> tuple[str, dict[str, Any]]:
        async with client(server, auth={"token": TOKEN}) as one:
            events = await one.generate("one two three")
            return str(one.sio.get_sid()), events[-1][1]

    client_id, end = run(scenario())
    # The end reaches the client a moment before it is logged.
    [line] = until(lambda: lines_with(server, end["id"]), "the log entry")
    wanted = {
        "event": "generate_text", "end": "done", "client": client_id, "holder": "api_key",
        "binding": "echo", "model": "echo", "id": end["id"], "reason": end["reason"],
        "tokens": end["tokens"], "prompt_tokens": end["prompt_tokens"],
        "characters": len("one two three"),
    }  # fmt: skip
    if line.startswith("{"):
        read = json.loads(line)
        assert {name: read.get(name) for name in wanted} == wanted and read["seconds"] >= 0
        assert read["level"] == "INFO" and read["time"].endswith("Z")
    else:
        assert all(f" {name}={value}" in line for name, value in wanted.items()), line
        assert " seconds=" in line


def test_every_line_is_of_the_format_that_was_asked_for(server: Home) -> None:
    is_json = '"level"' in logs(server)["gateway.log"]
    for name in ("gateway.log", "echo_00.log"):
        for line in logs(server)[name].splitlines():
            assert line.startswith("{") is is_json
            assert level_and_text(line), line


def test_who_leaves_in_the_middle_has_a_line_too(server: Home) -> None:
    async def scenario() -> str:
        one = Client()
        await one.sio.connect(server.url, auth={"token": TOKEN}, transports=["websocket"])
        await one.ask("select_model", {"model_name": "lorem-10ms"}, reply="select_model")
        await one.emit("generate_text", {"prompt": "x"})
        await one.next("text_chunk")
        sid = str(one.sio.get_sid())
        await one.sio.disconnect()
        async with client(server, auth={"token": TOKEN}) as two:
            await two.ask("select_model", {"model_name": "echo"}, reply="select_model")
        return sid

    sid = run(scenario())

    def line() -> bool:
        return any("generate_text" in x and "left" in x for x in lines_with(server, sid))

    until(line, "the entry of the client that left")


# Log formats.


def formatted(formatter: logging.Formatter, message: str, *values: Any, **extra: Any) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.getLogger("tests.formatted")
    log.propagate = False
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.info(message, *values, **extra)
    return stream.getvalue()


HOSTILE = "a\nb\x1b[2J\r\x00\x7f\x9b\u2028\u202e\u200f\ufeff\ud800é🦉"


@pytest.mark.parametrize("formatter", [OneLine(), Json()])
def test_control_characters_are_seen_and_not_obeyed(formatter: logging.Formatter) -> None:
    line = formatted(formatter, "said %s", HOSTILE, extra=with_fields(name=HOSTILE))
    assert line.count("\n") == 1 and line.endswith("\n")
    assert escaped(line[:-1]) == line[:-1] and line.isprintable() is False
    assert line[:-1].isprintable()
    assert "\\x1b[2J" in line


@pytest.mark.parametrize("formatter", [OneLine(), Json()])
def test_a_traceback_forges_nothing(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(f"x\n2026-01-01 00:00:00,000 CRITICAL gateway: forged\n{HOSTILE}")
    except ValueError:
        text = formatted(formatter, "it failed", exc_info=sys.exc_info())
    first, *rest = text.splitlines()
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
    ours = level_and_text(first)
    assert ours and ours[0] == "INFO"
    assert [line for line in rest if level_and_text(line)] == []


def test_fields_are_told_apart_from_what_is_in_them() -> None:
    extra = with_fields(a=1, b=None, c="two words", d="", e=1.23456, f='"quoted" x=1')
    line = formatted(OneLine(), "text", extra=extra).strip()
    assert line.endswith('text a=1 c="two words" d="" e=1.235 f="\\"quoted\\" x=1"')
    read = json.loads(formatted(Json(), "text %d", 7, extra=extra))
    assert read["message"] == "text 7" and read["c"] == "two words" and "b" not in read


@pytest.mark.parametrize(
    "line", ["", "x", "{}", "[]", "null", '{"level": 1}', '{"message": 1}', "{" * 10_000, "1e999"]
)
def test_what_is_no_line_of_ours_is_known_as_such(line: str) -> None:
    assert level_and_text(line) is None


def test_prompts_are_there_for_whoever_asks_for_debug(tmp_path: Path) -> None:
    async def scenario(server: Home) -> None:
        async with client(server) as one:
            await one.generate(CANARY)

    with home(tmp_path, **ECHO) as server:
        server.gateway("--log_level", "debug")
        server.worker("echo")
        server.ready()
        run(scenario(server))
        lines = [line for line in server.log("gateway").splitlines() if CANARY in line]
        assert lines and all(" DEBUG " in line for line in lines)


def test_a_log_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path) -> None:
    """supervisor stands still, say, or its disk does: the pipe is full after some 400 lines."""

    async def scenario(server: Home) -> None:
        async with client(server) as one:
            for _ in range(1500):
                await one.sio.call("list_active_personalities", timeout=20)

    with home(tmp_path, **ECHO) as server:
        gateway = subprocess.Popen(
            [sys.executable, "-m", "gateway"], cwd=ROOT, env=server.environment,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        server.processes.append(gateway)
        until(lambda: server.http("/health")[0] == 200, "the start")
        run(scenario(server))
        assert server.http("/health")[0] == 200
        gateway.terminate()
        assert gateway.wait(20) == 0
        assert gateway.stderr
        gateway.stderr.close()
