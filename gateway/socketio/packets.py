"""Decode a client's packet: whatever it is, it becomes a request that gets an answer.

python-socketio uses this class instead of its own. It finds handlers by the event's name, so
here every event gets the one name `REQUEST`, with the client's name as first argument. A
packet that cannot be parsed becomes a request, too, with a `Rejected` as its payload.
What would hold the event loop for long is refused before it is parsed: see `_excess`.
Attachments do not exist in this protocol: an event that announces some is answered at once,
with b"" in their places.
"""

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from socketio import packet

from gateway.socketio.encoder import EncodedReply
from gateway.socketio.payloads import MAX_IDS, Rejected
from gateway.validation import shown

REQUEST = "request"
MAX_ID = 15
"""Digits of an acknowledgement's id."""
MAX_DIGITS = 300
"""Of an integer; one with more becomes a float, which may be infinite."""
MAX_HEAD = 256
"""Characters of a refused packet that are kept, enough for its event's name."""
MAX_VALUES = 2**14
"""Numbers, texts, lists and objects of one event; no other has more than a few thousand."""
NUMBERS = {"detokenize": MAX_IDS + MAX_VALUES}
"""Events that may have more numbers."""

_EVENT, _BINARY_EVENT = "2", "5"
_PREFIX = re.compile(r"([0-9])(?:([0-9]{1,10})-)?(?:(/[^,\[{\"]*),?)?([0-9]*)")
_NAME = re.compile(r'\s*\[\s*"([a-z_]{1,64})"')
_REFUSED = "\0"

Decoded = tuple[int | None, str, list[Any]]
"""Id of the acknowledgement, name of the event, arguments."""


class Packet(packet.Packet):  # type: ignore[misc]
    uses_binary_events = False
    """Nothing that is sent has attachments; looking for some takes a call for each token id."""

    def encode(self) -> str | list[str | bytes]:
        """What the reply's event has encoded already is not encoded again."""
        if self.packet_type == packet.ACK and isinstance(self.data, list) and len(self.data) == 1:
            [reply] = self.data
            if isinstance(reply, EncodedReply) and self.namespace in (None, "/"):
                return f"{packet.ACK}{self.id}[{reply.body}]"
        encoded: str | list[str | bytes] = super().encode()
        return encoded

    def decode(self, encoded: str | bytes) -> int:
        """Never raise. Return how many attachments to wait for: none."""
        if not isinstance(encoded, str):
            encoded = refused("binary data is not accepted", "")
        kind = encoded[:1]
        if kind in ("0", "1"):
            self.packet_type, self.id = int(kind), None
            self.namespace, self.data = _connection(encoded)
        else:
            id, name, arguments = read(encoded)
            self.packet_type, self.namespace, self.id = packet.EVENT, None, id
            self.data = [REQUEST, name, *arguments]
        return 0


def refused(why: str, start: str) -> str:
    """A packet in place of one that began like this and is refused before it is parsed."""
    return f"{_REFUSED}{why}{_REFUSED}{start[:MAX_HEAD]}"


def attachment_count(encoded: str) -> int:
    """How many binary frames a client is about to send for this packet."""
    prefix = _PREFIX.match(encoded)
    return int(prefix[2]) if prefix and prefix[2] else 0


def read(encoded: str) -> Decoded:
    """Parse any text that is no connect or disconnect."""
    why = ""
    if encoded.startswith(_REFUSED):
        _, why, encoded = (*encoded.split(_REFUSED, 2), "")[:3]
    prefix = _PREFIX.match(encoded)
    if not prefix:
        why = why or f"a packet begins with a digit, not {shown(encoded[:8])}"
        return None, "", [Rejected(why)]
    kind, _, namespace, number = prefix.groups()
    body = encoded[prefix.end() :]
    named = _NAME.match(body)
    name = named[1] if named else ""
    if kind not in (_EVENT, _BINARY_EVENT):
        return None, "", [Rejected(why or f"a client sends no packets of the kind {kind}")]
    id = int(number) if 0 < len(number) <= MAX_ID else None
    if len(number) > MAX_ID:
        why = why or f"the number of an acknowledgement has up to {MAX_ID} digits"
    if namespace not in (None, "/"):
        why = why or f"the only namespace is /, not {shown(namespace)}"
    why = why or _excess(body, name)
    if why:
        return id, name, [Rejected(why)]
    try:
        event = _parsed(body, binary=kind == _BINARY_EVENT)
    except json.JSONDecodeError as error:
        return id, name, [Rejected(f"the packet is not JSON: {error.msg} at character {error.pos}")]
    except RecursionError:
        return id, name, [Rejected("the packet is nested too deeply to be read")]
    if not isinstance(event, list) or not event or not isinstance(event[0], str):
        what = "a list that begins with its name"
        return id, "", [Rejected(f"an event must be {what}, not {shown(event)}")]
    return id, event[0], event[1:]


def _connection(encoded: str) -> tuple[str | None, Any]:
    """Namespace and auth data of a connect or disconnect; None for unreadable data."""
    prefix = _PREFIX.match(encoded)
    assert prefix
    body = encoded[prefix.end() :] or "null"
    if _excess(body):
        return prefix[3], None
    try:
        return prefix[3], _parsed(body)
    except (json.JSONDecodeError, RecursionError):
        return prefix[3], None


def _parsed(text: str, *, binary: bool = False) -> Any:
    return _DECODERS[binary, _may_have_long_number(text)].decode(text)


def _may_have_long_number(text: str) -> bool:
    """Only then each integer is given to `_integer`, which takes three times as long.

    MAX_DIGITS in a row cover one of the blocks that are looked at, which are half as long.
    """
    if len(text) <= MAX_VALUES:  # has few integers: not worth a look at its blocks
        return len(text) > MAX_DIGITS
    half = MAX_DIGITS // 2
    return any(text[at : at + half].isdigit() for at in range(0, len(text), half))


def _excess(text: str, event: str = "") -> str:
    """Why this JSON has more values than an event may have; "" when it has not.

    A packet of 4 MB could be a million lists, which take a second to be made. Long texts may
    have any characters, so strings are skipped, but only where the whole has too many.
    """
    if len(text) <= MAX_VALUES:
        return ""
    numbers = NUMBERS.get(event, MAX_VALUES)
    if numbers > MAX_VALUES and _may_have_long_number(text):
        numbers = MAX_VALUES
    few = text.count('"') <= 2 * MAX_VALUES and _lists(text) <= MAX_VALUES
    if few and text.count(",") <= numbers:
        return ""
    at = strings = lists = commas = 0
    while at < len(text) and strings <= MAX_VALUES:
        quote = text.find('"', at)
        end = quote if quote >= 0 else len(text)
        lists += _lists(text, at, end)
        commas += text.count(",", at, end)
        strings += 1
        try:
            at = scanstring(text, end + 1)[1] if quote >= 0 else end
        except json.JSONDecodeError:
            break  # the parser stops here, too
    if strings <= MAX_VALUES and lists <= MAX_VALUES and commas <= numbers:
        return ""
    return f"an event may have {numbers:,} numbers, and {MAX_VALUES:,} texts, lists and objects"


def _lists(text: str, start: int = 0, end: int | None = None) -> int:
    return text.count("[", start, end) + text.count("{", start, end)


def _integer(digits: str) -> int | float:
    """`int` refuses very long ones, and that error would not name the client's field."""
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _without_attachments(value: dict[str, Any]) -> Any:
    return b"" if value.get("_placeholder") is True else value


_DECODERS = {
    (binary, long): json.JSONDecoder(
        parse_int=_integer if long else None,
        object_hook=_without_attachments if binary else None,
    )
    for binary in (False, True)
    for long in (False, True)
}
"""By whether attachments are announced, and whether there may be a very long integer."""
