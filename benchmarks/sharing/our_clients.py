"""Socket.IO clients that read from the network only when they are told to."""

import json
from abc import abstractmethod
from typing import Any

import aiohttp

from benchmarks.sharing.requests import PROMPT
from benchmarks.sharing.servers import Client, Kind, Refused

KINDS: dict[str, Kind] = {
    "text_chunk": "chunk",
    "text_generated": "end",
    "buzzy": "refused",
}


class SocketIoClient(Client):
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = f"{url}/socket.io/?EIO=4&transport="
        self._http = http

    async def open(self, token: str, binding: str, model: str) -> None:
        await self._handshake()
        await self._send("40" + json.dumps({"token": token}))
        await self._until("session")
        for event, data in (
            ("select_binding", {"binding_name": binding}),
            ("select_model", {"model_name": model}),
        ):
            await self.emit(event, data)
            reply = await self._until(event)
            if not reply["success"]:
                raise Refused(f"{event}: {reply['error']}")

    async def emit(self, event: str, data: dict[str, Any]) -> None:
        await self._send("42" + json.dumps([event, data]))

    async def ask(self, tokens: int) -> None:
        request = {"prompt": PROMPT, "n_predicts": tokens, "parameters": {"ignore_eos": True}}
        await self.emit("generate_text", request)

    async def read(self) -> list[Kind]:
        return [KINDS[name] for name, _ in await self.events() if name in KINDS]

    async def events(self) -> list[tuple[str, Any]]:
        """Names and payloads of the events that one read brought. Pings are answered."""
        found = []
        for packet in await self._packets():
            if packet.startswith("42"):
                name, *data = json.loads(packet[2:])
                if name == "generation_error":
                    raise Refused(f"{name}: {data[0]['error']}")
                found.append((name, data[0] if data else None))
            elif packet.startswith("44"):
                raise Refused(f"the connect: {packet}")
            elif packet == "2":
                await self._send("3")
        return found

    async def _until(self, event: str) -> Any:
        while True:
            for name, data in await self.events():
                if name == event:
                    return data

    @abstractmethod
    async def _handshake(self) -> None: ...

    @abstractmethod
    async def _send(self, packet: str) -> None: ...

    @abstractmethod
    async def _packets(self) -> list[str]: ...


class Websocket(SocketIoClient):
    async def _handshake(self) -> None:
        self._socket = await self._http.ws_connect(self._url + "websocket", max_msg_size=0)
        await self._packets()

    async def _send(self, packet: str) -> None:
        await self._socket.send_str(packet)

    async def _packets(self) -> list[str]:
        message = await self._socket.receive()
        if message.type != aiohttp.WSMsgType.TEXT:
            raise aiohttp.ClientConnectionError("the server closed the connection")
        return [message.data]


class Polling(SocketIoClient):
    async def _handshake(self) -> None:
        self._url += "polling"
        [opened] = await self._packets()
        self._url += "&sid=" + json.loads(opened[1:])["sid"]

    async def _send(self, packet: str) -> None:
        async with self._http.post(self._url, data=packet) as answer:
            answer.raise_for_status()

    async def _packets(self) -> list[str]:
        async with self._http.get(self._url) as answer:
            answer.raise_for_status()
            return (await answer.text()).split("\x1e")
