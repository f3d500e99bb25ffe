"""The terminal client: `make chat`.

It uses the documented events only, so it is also an example of a client.
"""

import argparse
import asyncio
import contextlib
import functools
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
import socketio

from chat.connection import PREFIX, add_options, ssl_context
from chat.status_line import StatusLine
from chat.terminal import harmless, one_line
from chat.waiting import Waiting

HELP = """\
  /personality   select a personality      /model   select a model
  /help          show this help            /quit    quit (or Ctrl-D)
  Ctrl-C cancels the running answer"""
CONNECT_SECONDS = 5
NOTICES = (
    "queue", "model_status", "prompt_progress", "generation_paused", "generation_continued",
)  # fmt: skip
"""Events that say what the client waits for; servers send them if `auth` has `events: true`."""


class Chat:
    def __init__(self, url: str, token: str, certificate: str) -> None:
        self._url = url
        self._status = StatusLine(sys.stdout)
        self._waiting = Waiting()
        self._auth: dict[str, Any] = {"events": True} if self._status.usable else {}
        if token:
            self._auth["token"] = token
        self._refusal = ""
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ssl_context(certificate))
        )
        self._sio = socketio.AsyncClient(http_session=self._http)
        self._idle = asyncio.Event()  # set while no answer is running
        self._idle.set()
        self._personality = -1
        self._tty = sys.stdin.isatty()
        for event, handler in (
            ("text_chunk", self._on_chunk),
            ("text_generated", self._on_end),
            ("generation_error", self._on_error),
            ("buzzy", self._on_busy),
            ("disconnect", self._on_disconnect),
            ("connect_error", self._on_refusal),
        ):
            self._sio.on(event, handler)
        for event in NOTICES:
            self._sio.on(event, functools.partial(self._on_notice, event))

    async def run(self, personality: str | None) -> int:
        try:
            await self._sio.connect(self._url, auth=self._auth, wait_timeout=CONNECT_SECONDS)
        except socketio.exceptions.ConnectionError as error:
            print(self._failure_reason(error), file=sys.stderr)
            await self._http.close()
            return 1
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            await self._choose_personality(personality)
            await self._read_commands()
        finally:
            await self._sio.disconnect()
            await self._http.close()
        return 0

    def _failure_reason(self, error: Exception) -> str:
        """Why the connection failed."""
        if self._refusal:
            return f"{one_line(self._refusal)} (`make chat` sends the token in {PREFIX}API_KEY)"
        if "certificate" in str(error).lower():
            return f"the certificate of {self._url} is not trusted: specify it with --ssl_certfile"
        return f"no server answers at {self._url}: start one with `make run`"

    async def _read_commands(self) -> None:
        if self._tty:
            print(HELP)
        while (line := await self._read("> ")) is not None:
            match line.strip():
                case "":
                    continue
                case "/quit" | "/exit":
                    return
                case "/help":
                    print(HELP)
                case "/personality":
                    await self._choose_personality(None)
                case "/model":
                    await self._choose_model()
                case text:
                    await self._generate(text)

    async def _generate(self, prompt: str) -> None:
        if not self._sio.connected:
            print("[no connection to the server; reconnecting …]", file=sys.stderr)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS * 2):
                    while not self._sio.connected:
                        await asyncio.sleep(0.1)
        if not self._sio.connected:
            return print("[cannot reconnect to the server]", file=sys.stderr)
        self._idle.clear()
        request = {"prompt": prompt, "personality": self._personality}
        with self._showing_status():
            await self._sio.emit("generate_text", request)
            await self._idle.wait()

    async def _choose_personality(self, path: str | None) -> None:
        """Mount the personality; None lets the user choose one, "" selects none."""
        answer = await self._call("list_available_personalities")
        paths = [
            (f"{language}/{category}/{entry['folder']}", entry["description"])
            for language, categories in answer.get("personalities", {}).items()
            for category, entries in categories.items()
            for entry in entries
        ]
        if path is None:
            path = await self._pick("personality", paths, none="none (raw prompts)")
        if not path:
            self._personality = -1
            return
        mounted = await self._call("add_personality", {"path": path})
        if not mounted.get("success"):
            return print(f"[{harmless(mounted.get('error'))}]", file=sys.stderr)
        self._personality = mounted["id"]
        print(f"[{one_line(mounted['name'])}]")

    async def _choose_model(self) -> None:
        answer = await self._call("list_available_models")
        models = [
            (model["title"], model["description"])
            for model in answer.get("available_models", [])
            if model["isInstalled"]
        ]
        if name := await self._pick("model", models):
            answer = await self._call("select_model", {"model_name": name})
            print(f"[{harmless(answer.get('error') or name)}]")

    async def _pick(self, what: str, choices: list[tuple[str, str]], none: str = "") -> str:
        """Let the user choose by number; "" means none. Without a terminal, do not ask."""
        if not self._tty:
            return ""
        if none:
            print(f"  0  {none}")
        for number, (name, description) in enumerate(choices, 1):
            print(f"  {number}  {one_line(name)}   {one_line(description.strip()[:80])}")
        line = (await self._read(f"number of the {what}: ") or "").strip()
        return (
            choices[int(line) - 1][0] if line.isdecimal() and 0 < int(line) <= len(choices) else ""
        )

    async def _call(self, event: str, data: Any = None) -> dict[str, Any]:
        with self._showing_status():
            answer: dict[str, Any] = await self._sio.call(event, data, timeout=600)
        return answer

    @contextlib.contextmanager
    def _showing_status(self) -> Iterator[None]:
        """Show notices, while an answer is awaited."""
        self._waiting.clear()
        self._status.begin()
        try:
            yield
        finally:
            self._status.end()

    def _on_notice(self, event: str, data: Any = None) -> None:
        self._waiting.take(event, data)
        self._status.show(self._waiting.line)

    async def _read(self, prompt: str) -> str | None:
        """The next line of input; None at its end."""
        if self._tty:
            print(prompt, end="", flush=True)
        line = await asyncio.to_thread(sys.stdin.readline)
        return line.rstrip("\n") if line else None

    def _interrupt(self) -> None:
        """Ctrl-C: cancel the running answer; without one, say how to quit."""
        if self._sio.connected and not self._idle.is_set():
            asyncio.ensure_future(self._sio.emit("cancel_generation"))  # noqa: RUF006
        else:
            self._status.write("\n[/quit or Ctrl-D quits]\n> ")

    async def _on_chunk(self, data: dict[str, Any]) -> None:
        self._waiting.clear()
        self._status.write(harmless(data["chunk"]))

    async def _on_end(self, data: dict[str, Any]) -> None:
        if data.get("reason") == "stop" and not data["text"].strip():
            self._status.write("[the answer is empty; /personality gives the model a role]")
        self._status.write("\n")
        self._idle.set()

    async def _on_error(self, data: dict[str, Any]) -> None:
        self._status.write(f"\n[{harmless(data['error'])}]\n")
        self._idle.set()

    async def _on_busy(self, data: dict[str, Any]) -> None:
        self._status.write(f"[{harmless(data['message'])}]\n")
        self._idle.set()

    async def _on_refusal(self, data: Any) -> None:
        """Keep the server's reason for refusing the connection."""
        if isinstance(data, dict):
            self._refusal = str(data.get("message", ""))

    async def _on_disconnect(self, *reason: Any) -> None:
        if not self._idle.is_set():
            self._status.erase()
            print("\n[the connection to the server was lost]", file=sys.stderr)
            self._idle.set()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m chat", description="Chat with a LoLLMs server in the terminal."
    )
    add_options(parser)
    parser.add_argument(
        "--personality",
        help="path of a personality, such as english/fun/pirate; '' for none (raw prompts)",
    )
    options = parser.parse_args()

    async def run() -> int:
        chat = Chat(options.url, options.api_key, options.ssl_certfile)
        return await chat.run(options.personality)

    try:
        return asyncio.run(run())
    except OSError as error:
        print(f"{options.ssl_certfile}: {error.strerror or 'not a certificate'}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread may still wait for a line of input
