"""Encode events and text chunks as Socket.IO packets."""

import json
from collections.abc import Iterator
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from gateway.inference.listener import OnSent

PACKETS_A_POLL = 16
"""Packets that a client accepts in one response to a long poll; more is an error to it."""
CHUNK = 0
"""MSG_TYPE_CHUNK of the clients of 2023, which compare the number."""
PART = 20_000
"""Entries of a list that are encoded at once."""


class EncodedReply(dict[str, Any]):
    """A reply with long lists, whose JSON was made in parts; it may not be changed afterwards."""

    body = ""

    def encode(self) -> Iterator[None]:
        """Make the JSON, and yield after each part of some milliseconds."""
        fields = []
        for name, value in self.items():
            parts = []
            for at in range(0, len(value) if isinstance(value, list) else 0, PART):
                parts.append(_dumps(value[at : at + PART])[1:-1])
                yield
            text = f"[{','.join(parts)}]" if isinstance(value, list) else _dumps(value)
            fields.append(f"{_quoted(name)}:{text}")
        self.body = f"{{{','.join(fields)}}}"


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


class Event:
    """A reply, or the end of a generation."""

    __slots__ = ("body", "data", "name")

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        """Raise ValueError for values without JSON form, such as NaN."""
        self.name = name
        self.data = data
        self.body = (data.body if isinstance(data, EncodedReply) else "") or _dumps(data)

    @property
    def size(self) -> int:
        return len(self.body) + len(self.name) + 16

    @property
    def packet(self) -> str:
        """Text of the Engine.IO packet: 4 is a message, 2 in it an event of Socket.IO."""
        return f"42[{_quoted(self.name)},{self.body}]"


class NoticeEvent(Event):
    """A notice. While it waits, the next one of its generation and name replaces it."""

    __slots__ = ("stream",)

    def __init__(self, stream: str, name: str, data: dict[str, Any]) -> None:
        super().__init__(name, data)
        self.stream = stream

    @property
    def key(self) -> tuple[str, str]:
        return self.stream, self.name


class TextChunk:
    """Text of one generation. The packet is byte for byte that of python-socketio."""

    __slots__ = ("stream", "taken", "text", "tokens")

    name = "text_chunk"

    def __init__(self, stream: str, text: str, tokens: int, taken: OnSent) -> None:
        self.stream = stream
        self.text = text
        self.tokens = tokens
        self.taken = taken

    def merge(self, later: "TextChunk") -> bool:
        """Append the next chunk, if it is of the same generation. Return whether it is."""
        if later.stream != self.stream or later.taken != self.taken:
            return False
        self.text += later.text
        self.tokens += later.tokens
        return True

    @property
    def data(self) -> dict[str, Any]:
        return {"chunk": self.text, "type": CHUNK, "id": self.stream}

    @property
    def size(self) -> int:
        return len(self.text) + 80

    @property
    def packet(self) -> str:
        return (
            f'42["text_chunk",{{"chunk":{_quoted(self.text)},"type":{CHUNK},"id":"{self.stream}"}}]'
        )


Item = Event | TextChunk
