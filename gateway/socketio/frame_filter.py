"""Filter incoming frames; make requests of those that engineio cannot parse.

A frame that is too long becomes such a request, too. The request is answered with an error.
"""

from engineio import packet

from gateway.socketio.packets import refused

KINDS = tuple(map(str, (packet.CLOSE, packet.PONG, packet.MESSAGE, packet.UPGRADE)))
"""Kinds of packets that a client may send. It sends PING only while it upgrades."""


def filter_frame(frame: str, limit: int) -> str:
    """A frame that engineio can parse: the same, or a refusal. `limit` is in bytes."""
    if len(frame) > limit or (not frame.isascii() and len(frame.encode(errors="replace")) > limit):
        return too_long(frame, limit)
    if not frame:
        return _refusal("an empty frame says nothing")
    if frame[0] == "b":  # binary data, as polling clients have it
        return "b"
    if frame[0] not in KINDS:
        return _refusal("a frame begins with 1, 3, 4 or 5")
    return frame


def too_long(start: str, limit: int) -> str:
    """The refusal of a frame that began like this."""
    return _refusal(f"a message may have {limit:,} bytes, and this one is longer", start)


def not_utf8(start: bytes) -> str:
    return _refusal("a message must be UTF-8", start.decode(errors="replace"))


def _refusal(why: str, start: str = "") -> str:
    return f"{packet.MESSAGE}{refused(why, start[1:])}"
