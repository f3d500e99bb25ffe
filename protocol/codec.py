"""Encode messages as msgpack frames and decode them; no other module uses msgpack.

A frame is `[kind, {field: value}]`. Fields are encoded by name, which costs some
bytes and makes a captured frame readable. The fields of a `Chunk`, which is sent
for every token, are encoded by position. `decode` checks every field against its
annotation.
"""

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgpack

from protocol import messages
from protocol.errors import ProtocolError
from protocol.messages import Chunk, Message
from protocol.sampling import Sampling

MAX_FRAME = 64 * 2**20
"""Bytes; also the sockets' ZMQ_MAXMSGSIZE."""
MAX_ITEMS = 2**20
"""Entries of one list."""
MAX_KEYS = 2**12
"""Keys of one object."""
MAX_LISTS = MAX_ITEMS + 16
"""Lists and objects in one frame: each takes 60 bytes of memory, and one byte in a frame."""
MAX_ENTRIES = 2**23
"""Entries of all lists in one frame; an answer of MAX_FRAME bytes has fewer."""
SHORT_FRAME = 2**16
"""Bytes of a frame whose lists are not counted: it cannot have many."""
MAX_CHUNKS = 2**12
"""Chunks in one frame. A worker sends far fewer at once."""
MAX_MODELS = 500
"""Models in one Hello."""
MAX_MAPPED = 2**50
"""Bytes that one worker can map: more than the address space of a process."""
TCP_KEEPALIVE = {"TCP_KEEPALIVE": 1, "TCP_KEEPALIVE_IDLE": 10, "TCP_KEEPALIVE_INTVL": 5,
                 "TCP_KEEPALIVE_CNT": 3}  # fmt: skip
"""ZeroMQ's socket options, by name. They detect a vanished machine within half a minute."""

Check = Callable[[Any], Any]
"""Returns the value converted for the dataclass, or raises TypeError."""


def encode(message: Message) -> bytes:
    kind = type(message)
    body = {name: _plain(getattr(message, name)) for name in _FIELDS[kind]}
    frame: bytes = msgpack.packb((kind.__name__, body))
    return frame


def decode(frame: bytes) -> Message:
    """Raise ProtocolError for anything that is not a well-typed message."""
    try:
        name, body = msgpack.unpackb(
            frame,
            max_str_len=MAX_FRAME,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_KEYS,
            max_ext_len=0,
            **(_counted() if len(frame) > SHORT_FRAME else {}),
        )
        return _build(_KINDS[name], body)  # type: ignore[no-any-return]
    except (KeyError, TypeError, ValueError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not a protocol message: {_shortened(error)}") from None


def unsendable(message: Message, frame: bytes) -> str:
    """Why a peer could not read this frame of the message; "" if it can.

    A list over the limit takes more bytes than it has entries: short frames cost nothing.
    """
    if len(frame) > MAX_FRAME:
        return f"it has {len(frame):,} bytes, and a message may have {MAX_FRAME:,}"
    if len(frame) > MAX_ITEMS:
        for name in _FIELDS[type(message)]:
            value = getattr(message, name)
            if isinstance(value, list) and len(value) > MAX_ITEMS:
                return f"{name} has {len(value):,} entries, and a list may have {MAX_ITEMS:,}"
    return ""


def ids_of(frame: bytes) -> list[int]:
    """The ids of the requests that a frame is about, as far as they can be read.

    For frames that `decode` refuses: truncated, over a limit, with fields of wrong types.
    """
    found: list[int] = []
    unpacker = msgpack.Unpacker(
        max_buffer_size=max(1, len(frame)),
        strict_map_key=False,
        list_hook=_no_id,
        object_hook=_no_id,
    )
    unpacker.feed(frame)
    try:
        unpacker.read_array_header()
        unpacker.skip()
        for _ in range(unpacker.read_map_header()):
            name = unpacker.unpack()
            if name == "id":
                found.append(unpacker.unpack())
            elif name == "chunks":
                for _ in range(min(unpacker.read_array_header(), MAX_CHUNKS)):
                    length = unpacker.read_array_header()
                    found.append(unpacker.unpack())
                    for _ in range(length - 1):
                        unpacker.skip()
            else:
                unpacker.skip()
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError):
        pass  # the frame ends here, or has another form
    return [id for id in dict.fromkeys(found) if type(id) is int]


def _no_id(value: Any) -> Any:
    raise ValueError("an id is a number")


def _counted() -> dict[str, Check]:
    """Hooks that end the decoding of a frame with too many lists, before they are all made."""
    lists = entries = 0

    def count(value: Any) -> Any:
        nonlocal lists, entries
        lists += 1
        entries += len(value)
        if lists > MAX_LISTS or entries > MAX_ENTRIES:
            raise ValueError("too many lists, or entries in them")
        return value

    return {"list_hook": count, "object_hook": count}


def _shortened(error: Exception) -> str:
    """Not `repr`, which for some errors holds the whole frame."""
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= 200 else text[:200] + "…"


def _plain(value: Any) -> Any:
    """The value as types that msgpack can pack; of a Sampling only what is not the default."""
    kind = type(value)
    if kind is list and value and type(value[0]) is Chunk:
        return [(chunk.id, chunk.text, chunk.tokens, chunk.count) for chunk in value]
    if kind is Sampling:
        return {
            name: parameter
            for name in _FIELDS[Sampling]
            if (parameter := getattr(value, name)) != getattr(_DEFAULT_SAMPLING, name)
        }
    return value


def _build(kind: type, body: Any) -> Any:
    checks = _FIELDS[kind]
    if type(body) is not dict or not checks.keys() >= body.keys():
        raise TypeError(f"not the fields of {kind.__name__}")
    return kind(**{name: checks[name](value) for name, value in body.items()})


def _chunk(value: Any) -> Chunk:
    id, text, tokens, count = value
    if type(id) is not int or type(text) is not str or type(count) is not int:
        raise TypeError("not a chunk")
    return Chunk(id, text, _INTS(tokens), count)


def _chunks(value: Any) -> list[Chunk]:
    if len(_exactly(value, list)) > MAX_CHUNKS:
        raise ValueError("too many lists of chunks")
    return [_chunk(item) for item in value]


def _check(annotation: Any) -> Check:
    """The check for one annotation; built once per field, when this module is imported."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        return lambda value: _build(annotation, value)
    if get_origin(annotation) is list:
        (element,) = get_args(annotation)
        if element is Chunk:
            return _chunks
        if element in (int, str):
            return _list_of_exactly(element)
        check = _check(element)
        return lambda value: [check(item) for item in _exactly(value, list)]
    if get_origin(annotation) is dict:
        key, element = map(_check, get_args(annotation))
        return lambda value: {key(k): element(v) for k, v in _exactly(value, dict).items()}
    accepted = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    if accepted == (float,):
        return lambda value: float(_exactly(value, float, int))
    return lambda value: _exactly(value, *accepted)


def _exactly(value: Any, *kinds: type) -> Any:
    """Compares `type`, not `isinstance`, because True must not count as an int."""
    if type(value) not in kinds:
        raise TypeError(f"{kinds[0].__name__} expected, got {type(value).__name__}")
    return value


def _list_of_exactly(kind: type) -> Check:
    kinds = {kind}

    def check(value: Any) -> Any:
        if type(value) is not list or not kinds.issuperset(map(type, value)):
            raise TypeError(f"not a list of {kind.__name__}")
        return value

    return check


_INTS = _list_of_exactly(int)
_DEFAULT_SAMPLING = Sampling()

_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
}


def _checks(kind: Any) -> dict[str, Check]:
    hints = get_type_hints(kind)
    return {field.name: _check(hints[field.name]) for field in fields(kind)}


_DATACLASSES: tuple[type, ...] = (Sampling, *_KINDS.values())
_FIELDS: dict[type, dict[str, Check]] = {kind: _checks(kind) for kind in _DATACLASSES}


def vocabulary() -> dict[str, dict[str, str]]:
    """Annotation and default of each field of each message, for golden test and documentation."""
    return {
        kind.__name__: {
            field.name: f"{get_type_hints(kind)[field.name]}"
            + ("" if field.default is MISSING else f" = {field.default!r}")
            for field in fields(kind)
        }
        for kind in (Chunk, *_DATACLASSES)
    }
