"""The terminal client shows what it waits for, and only where a person can see it."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
import socketio
from aiohttp import web

from gateway.scheduling.notices import (
    Continued,
    ModelStatus,
    Notice,
    Paused,
    PromptProgress,
    Queued,
)
from gateway.socketio.replies import notice_event
from tests.support.harness import PATIENCE, ROOT, free_port, run
from tests.support.screen import Screen
from tests.support.terminal import chatting

MODEL = "pebble-f16.gguf"
BEFORE: list[Notice] = [
    Queued(2, 3, "all slots are in use"),
    Queued(1, 2, "all slots are in use"),
    ModelStatus("llama_cpp", MODEL, "starting"),
    *(ModelStatus("llama_cpp", MODEL, "loading", part / 10) for part in range(11)),
    ModelStatus("llama_cpp", MODEL, "loaded"),
    PromptProgress(600, 1200, 0),
]
BETWEEN: list[Notice] = [
    Paused("others have their turn"),
    Queued(2, 2, "all slots are in use"),
    Continued("a slot is free"),
]


class WaitingServer:
    """Lets each request wait, with notices for clients that ask for them."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        """Whether each client asked for notices."""
        self._sio = socketio.AsyncServer(async_mode="aiohttp")
        self._application = web.Application()
        self._sio.attach(self._application)
        for event in ("connect", "list_available_personalities", "list_available_models",
                      "select_model", "generate_text"):  # fmt: skip
            self._sio.on(event, getattr(self, event))

    async def __aenter__(self) -> str:
        port = free_port()
        self._runner = web.AppRunner(self._application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{port}"

    async def __aexit__(self, *exc_info: object) -> None:
        await self._runner.cleanup()

    async def connect(self, sid: str, environ: Any, auth: Any) -> None:
        self.asked.append(auth == {"events": True})

    async def list_available_personalities(self, sid: str, *data: Any) -> dict[str, Any]:
        return {"personalities": {}}

    async def list_available_models(self, sid: str, *data: Any) -> dict[str, Any]:
        return {"available_models": [{"title": MODEL, "description": "", "isInstalled": True}]}

    async def select_model(self, sid: str, *data: Any) -> dict[str, Any]:
        await self._notices(sid, BEFORE[:-1], "")
        return {"success": True}

    async def generate_text(self, sid: str, *data: Any) -> None:
        await self._notices(sid, BEFORE)
        await self._sio.emit("text_chunk", {"chunk": "The quick brown "}, to=sid)
        await self._notices(sid, BETWEEN)
        await self._sio.emit("text_chunk", {"chunk": "fox"}, to=sid)
        await self._sio.emit("text_generated", {"text": "The quick brown fox"}, to=sid)
        await self._notices(sid, BETWEEN)  # too late to be shown

    async def _notices(self, sid: str, notices: list[Notice], id: str = "id") -> None:
        for notice in notices:
            await self._sio.emit(*notice_event(id, notice), to=sid)


def test_a_terminal_shows_each_notice_and_keeps_the_text_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")

    def talk(url: str) -> list[str]:
        with chatting(url) as terminal:
            terminal.until("number of the personality: ")
            terminal.type("0\n")
            terminal.until("> ")
            terminal.type("/model\n")
            terminal.until("number of the model: ")
            terminal.type("1\n")
            loading = terminal.until("> ")
            assert f"loading {MODEL}  [#####-----] 50 %" in loading
            terminal.type("hello\n")
            answered = terminal.until("fox\r\n> ")
            for shown in (
                "2nd in line: all slots are in use", "next in line: all slots are in use",
                f"starting a worker for {MODEL}", f"loading {MODEL}  [##########] 100 %",
                "reading the prompt  [#####-----] 50 %  (600 of 1,200 tokens)",
                "paused: others have their turn", "paused: others have their turn, 2nd in line",
                "continued: a slot is free",
            ):  # fmt: skip
                assert f"\r\x1b[K{shown}" in answered, shown
            terminal.type("/quit\n")
            assert terminal.ended() == 0
            screen = Screen(rows=6)
            screen.write(terminal.seen)
            return screen.lines

    server = WaitingServer()

    async def scenario() -> list[str]:
        async with server as url:
            return await asyncio.to_thread(talk, url)

    lines: list[str] = run(scenario())
    assert lines[-7:] == [
        "> /model", f"  1  {MODEL}", "number of the model: 1", f"[{MODEL}]", "> hello",
        "The quick brown fox", "> /quit",
    ]  # fmt: skip
    assert server.asked == [True]


def test_nothing_of_it_reaches_a_file() -> None:
    def talk(url: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "chat", "--url", url], cwd=ROOT, input="hello\n",
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    server = WaitingServer()

    async def scenario() -> Any:
        async with server as url:
            return await asyncio.to_thread(talk, url)

    done = run(scenario())
    assert (done.returncode, done.stdout, done.stderr) == (0, "The quick brown fox\n", "")
    assert server.asked == [False]
