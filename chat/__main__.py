"""How does somebody talk to the server from a terminal? `make chat`

Uses the documented events only, so it is an example of a client, too.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

import aiohttp
import socketio

from chat.connection import PREFIX, add_options, trusting

HELP = """\
  /personality   pick a personality        /model   pick a model
  /help          this list                 /quit    leave (or Ctrl-D)
  Ctrl-C while an answer comes cancels the answer"""
CONNECT_SECONDS = 5


class Chat:
    def __init__(self, url: str, token: str, certificate: str) -> None:
        self._url = url
        self._auth = {"token": token} if token else None
        self._refused = ""
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusting(certificate))
        )
        self._sio = socketio.AsyncClient(http_session=self._http)
        self._ended = asyncio.Event()
        self._ended.set()  # nothing runs yet
        self._personality = -1
        self._tty = sys.stdin.isatty()
        for event, handler in (
            ("text_chunk", self._chunk),
            ("text_generated", self._generated),
            ("generation_error", self._failed),
            ("buzzy", self._busy),
            ("disconnect", self._lost),
            ("connect_error", self._was_refused),
        ):
            self._sio.on(event, handler)

    async def run(self, personality: str | None) -> int:
        try:
            await self._sio.connect(self._url, auth=self._auth, wait_timeout=CONNECT_SECONDS)
        except socketio.exceptions.ConnectionError as error:
            print(self._why_not(error), file=sys.stderr)
            await self._http.close()
            return 1
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            await self._choose_personality(personality)
            await self._talk()
        finally:
            await self._sio.disconnect()
            await self._http.close()
        return 0

    def _why_not(self, error: Exception) -> str:
        if self._refused:
            return f"{self._refused} ({PREFIX}API_KEY is what `make chat` sends)"
        if "certificate" in str(error).lower():
            return f"the certificate of {self._url} is not trusted: name it with --ssl_certfile"
        return f"no server answers at {self._url}: start one with `make run`"

    async def _talk(self) -> None:
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
                    await self._ask(text)

    async def _ask(self, prompt: str) -> None:
        if not self._sio.connected:
            print("[the server is away; trying to reach it again …]", file=sys.stderr)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS * 2):
                    while not self._sio.connected:
                        await asyncio.sleep(0.1)
        if not self._sio.connected:
            return print("[it did not come back]", file=sys.stderr)
        self._ended.clear()
        await self._sio.emit("generate_text", {"prompt": prompt, "personality": self._personality})
        await self._ended.wait()

    async def _choose_personality(self, wanted: str | None) -> None:
        answer = await self._call("list_available_personalities")
        paths = [
            (f"{language}/{category}/{entry['folder']}", entry["description"])
            for language, categories in answer.get("personalities", {}).items()
            for category, entries in categories.items()
            for entry in entries
        ]
        if wanted is None:
            wanted = await self._pick("personality", paths, none="none: the bare model")
        if not wanted:
            self._personality = -1
            return
        mounted = await self._call("add_personality", {"path": wanted})
        if not mounted.get("success"):
            return print(f"[{mounted.get('error')}]", file=sys.stderr)
        self._personality = mounted["id"]
        print(f"[{mounted['name']}]")

    async def _choose_model(self) -> None:
        answer = await self._call("list_available_models")
        models = [
            (model["title"], model["description"])
            for model in answer.get("available_models", [])
            if model["isInstalled"]
        ]
        if name := await self._pick("model", models):
            answer = await self._call("select_model", {"model_name": name})
            print(f"[{answer.get('error') or name}]")

    async def _pick(self, what: str, choices: list[tuple[str, str]], none: str = "") -> str:
        """One of the choices by its number; "" for none of them. Asks nobody who cannot see."""
        if not self._tty:
            return ""
        if none:
            print(f"  0  {none}")
        for number, (name, description) in enumerate(choices, 1):
            print(f"  {number}  {name}   {description.strip()[:80]}")
        line = (await self._read(f"{what}, by number: ") or "").strip()
        return (
            choices[int(line) - 1][0] if line.isdecimal() and 0 < int(line) <= len(choices) else ""
        )

    async def _call(self, event: str, data: Any = None) -> dict[str, Any]:
        answer: dict[str, Any] = await self._sio.call(event, data, timeout=600)
        return answer

    async def _read(self, prompt: str) -> str | None:
        """A line, None at the end of the input."""
        if self._tty:
            print(prompt, end="", flush=True)
        line = await asyncio.to_thread(sys.stdin.readline)
        return line.rstrip("\n") if line else None

    def _interrupt(self) -> None:
        """Ctrl-C: the answer if one comes, else only a hint how to leave."""
        if self._sio.connected and not self._ended.is_set():
            asyncio.ensure_future(self._sio.emit("cancel_generation"))  # noqa: RUF006
        else:
            print("\n[/quit or Ctrl-D leaves]\n> ", end="", flush=True)

    async def _chunk(self, data: dict[str, Any]) -> None:
        print(data["chunk"], end="", flush=True)

    async def _generated(self, data: dict[str, Any]) -> None:
        if data.get("reason") == "stop" and not data["text"].strip():
            print("[the model had nothing to say; /personality gives it a role]", end="")
        print(flush=True)
        self._ended.set()

    async def _failed(self, data: dict[str, Any]) -> None:
        print(f"\n[{data['error']}]", flush=True)
        self._ended.set()

    async def _busy(self, data: dict[str, Any]) -> None:
        print(f"[{data['message']}]", flush=True)
        self._ended.set()

    async def _was_refused(self, data: Any) -> None:
        """Why the server would not have us, in its own words."""
        if isinstance(data, dict):
            self._refused = str(data.get("message", ""))

    async def _lost(self, *reason: Any) -> None:
        if not self._ended.is_set():
            print("\n[the connection to the server was lost]", file=sys.stderr)
            self._ended.set()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m chat", description="Talk to a LoLLMs server in the terminal."
    )
    add_options(parser)
    parser.add_argument(
        "--personality", help="its path, as in english/fun/pirate; '' is the bare model"
    )
    options = parser.parse_args()

    async def run() -> int:
        chat = Chat(options.url, options.api_key, options.ssl_certfile)
        return await chat.run(options.personality)

    try:
        return asyncio.run(run())
    except OSError as error:
        print(f"{options.ssl_certfile}: {error.strerror or 'no certificate'}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread may still wait for a line that nobody will type
