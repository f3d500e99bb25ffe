"""The terminal client shows what a server sends, and its terminal obeys none of it."""

import asyncio
import re
import unicodedata
from typing import Any

import pytest
import socketio
from aiohttp import web

from chat.__main__ import NOTICES
from chat.status_line import BACK, BELOW, ERASE
from chat.terminal import harmless, one_line
from tests.support.harness import free_port, run
from tests.support.terminal import chatting

CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4=\x07"
HOSTILE = f"{CLIPBOARD}\x1b[2J\x9b31m\r\x08\u202eevil\u2066\x7f\ud800\U000e0041"


@pytest.mark.parametrize("number", [*range(0x20), *range(0x7F, 0xA0)])
def test_control_characters_become_visible(number: int) -> None:
    shown = harmless(f"a{chr(number)}b")
    if chr(number) in "\n\t":
        assert shown == f"a{chr(number)}b"
    else:
        assert shown == f"a{ascii(chr(number))[1:-1]}b" and shown.isprintable()


def test_nothing_that_is_left_controls_a_terminal_or_the_direction() -> None:
    shown = harmless("".join(map(chr, range(0x110000))))
    for character in set(shown) - {"\n", "\t"}:
        assert unicodedata.category(character) not in ("Cc", "Cs"), ascii(character)
        assert unicodedata.bidirectional(character) not in (
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"
        ), ascii(character)  # fmt: skip
    shown.encode()  # a terminal gets bytes


def test_an_escape_sequence_in_pieces_is_as_harmless_as_in_one() -> None:
    assert "".join(map(harmless, HOSTILE)) == harmless(HOSTILE)
    assert "\x1b" not in harmless(HOSTILE)


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Grüße, 世界!\n\tمرحبا 👩\u200d👩\u200d👧 می\u200cخواهم — naïve\n"
    assert harmless(text) == text
    assert one_line("a\nb\tc") == "a b c"


class HostileServer:
    """Sends escape sequences in everything that it sends."""

    def __init__(self) -> None:
        self._sio = socketio.AsyncServer(async_mode="aiohttp")
        self._application = web.Application()
        self._sio.attach(self._application)
        for event in (
            "list_available_personalities", "add_personality", "list_available_models",
            "select_model", "generate_text",
        ):  # fmt: skip
            self._sio.on(event, getattr(self, event))
        self._ways = iter([self._finish, self._fail, self._refuse])

    async def __aenter__(self) -> str:
        port = free_port()
        self._runner = web.AppRunner(self._application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{port}"

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()

    async def list_available_personalities(self, sid: str, *data: Any) -> dict[str, Any]:
        return {"personalities": {"x": {HOSTILE: [{"folder": HOSTILE, "description": HOSTILE}]}}}

    async def add_personality(self, sid: str, *data: Any) -> dict[str, Any]:
        assert data[0]["path"] == f"x/{HOSTILE}/{HOSTILE}"  # the server's own words
        return {"success": True, "id": 0, "name": f"{HOSTILE}\nforged"}

    async def list_available_models(self, sid: str, *data: Any) -> dict[str, Any]:
        return {
            "available_models": [{"title": HOSTILE, "description": HOSTILE, "isInstalled": True}]
        }

    async def select_model(self, sid: str, *data: Any) -> dict[str, Any]:
        return {"error": HOSTILE}

    async def generate_text(self, sid: str, *data: Any) -> None:
        await self._notices(sid)
        for character in HOSTILE:  # each in a chunk of its own
            await self._sio.emit("text_chunk", {"chunk": character}, to=sid)
        await self._notices(sid)
        await next(self._ways)(sid)

    async def _notices(self, sid: str) -> None:
        for event in NOTICES:
            await self._sio.emit(event, HOSTILE, to=sid)
            for state in ("starting", "loading", "failed", HOSTILE):
                data = {"position": 2, "why": HOSTILE, "binding": HOSTILE, "model": HOSTILE,
                        "state": state, "error": HOSTILE}  # fmt: skip
                await self._sio.emit(event, data, to=sid)

    async def _finish(self, sid: str) -> None:
        await self._sio.emit("text_generated", {"text": HOSTILE, "reason": "stop"}, to=sid)

    async def _fail(self, sid: str) -> None:
        await self._sio.emit("generation_error", {"error": HOSTILE}, to=sid)

    async def _refuse(self, sid: str) -> None:
        await self._sio.emit("buzzy", {"message": HOSTILE}, to=sid)


def test_the_terminal_gets_no_control_character_from_a_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")

    def talk(url: str) -> str:
        with chatting(url) as terminal:
            terminal.until("number of the personality: ")
            terminal.type("1\n")
            terminal.until("> ")
            terminal.type("/model\n")
            terminal.until("number of the model: ")
            terminal.type("1\n")
            for prompt in ("one", "two", "three"):
                terminal.until("> ")
                terminal.type(f"{prompt}\n")
            terminal.until("> ")
            terminal.type("/quit\n")
            assert terminal.ended() == 0
            return terminal.seen

    async def scenario() -> str:
        async with HostileServer() as url:
            return await asyncio.to_thread(talk, url)

    seen: str = run(scenario())
    assert seen.count("paused: \\x1b]52;c;") >= 6
    for own in (BELOW, BACK, ERASE):  # those of the status line
        seen = seen.replace(own.replace("\n", "\r\n"), "")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e\u2066\ufffd]", seen), seen
    assert "\r" not in seen.replace("\r\n", "") and "Traceback" not in seen
    assert seen.count("\\x1b]52;c;") >= 9 and "\nforged" not in seen
