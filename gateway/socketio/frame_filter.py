"""Filter incoming frames; make requests of those that engineio cannot parse.

What is too long becomes such a request, too. Nothing is held for attachments that may
never come.
"""

from engineio import packet

from gateway.socketio.packets import refused

KINDS = tuple(map(str, (packet.CLOSE, packet.PONG, packet.MESSAGE, packet.UPGRADE)))
"""What a client may send. Its pings belong to an upgrade."""


def filter_frame(frame: str, limit: int) -> str:
    """One that engineio can read: the same, or one with a refusal. `limit` is in bytes."""
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
    """In place of a frame that began like this."""
    return _refusal(f"a message may have {limit:,} bytes, and this one is longer", start)


def not_utf8(start: bytes) -> str:
    return _refusal("a message must be UTF-8", start.decode(errors="replace"))


def _refusal(why: str, start: str = "") -> str:
    return f"{packet.MESSAGE}{refused(why, start[1:])}"
