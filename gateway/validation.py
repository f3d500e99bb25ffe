"""Is one field of what somebody sent as it must be? The value, or one sentence that says why not.

The sentence names the field, what was expected and what came, cut.
"""

import math
from typing import Any

from gateway.errors import BadRequest

MAX_NAME = 1000
MAX_TEXTS = 64

Payload = dict[str, Any]


def text(data: Payload, name: str, *, limit: int = MAX_NAME) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a text, not {shown(value)}")
    if len(value) > limit:
        raise BadRequest(f"{name} may have {limit} characters, not {len(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name} must be valid Unicode, without lone surrogates") from None
    return value


def number(data: Payload, name: str, default: float, low: float, high: float) -> float:
    value = data.get(name)
    if value is None:
        return default
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = float(value)
        except ValueError:
            value = data[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{name} must be a number, not {shown(data[name])}")
    if (isinstance(value, float) and not math.isfinite(value)) or not low <= value <= high:
        raise BadRequest(f"{name} must be from {low:g} to {high:g}, not {shown(data[name])}")
    return float(value)


def integer(data: Payload, name: str, default: int, low: int, high: int) -> int:
    value = data.get(name)
    if value is None:
        return default
    if isinstance(value, str) and len(value) <= 20:
        try:
            value = int(value)
        except ValueError:
            value = data[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name} must be a whole number, not {shown(data[name])}")
    if not low <= value <= high:
        raise BadRequest(f"{name} must be from {low} to {high}, not {shown(data[name])}")
    return value


def texts(name: str, value: Any) -> tuple[str, ...]:
    """One, or a list of them."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > MAX_TEXTS:
        raise BadRequest(f"{name} must be a list of up to {MAX_TEXTS} texts, not {shown(value)}")
    return tuple(text({name: each}, name) for each in values)


def shown(value: Any) -> str:
    """What came, in a few characters that are safe to print and to send."""
    if value is None:
        return "nothing"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a very large number"
    if isinstance(value, str):
        value = value[:80]
    elif isinstance(value, bytes | bytearray):
        return "binary data"
    elif isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value)}"
    printed = ascii(value) if not isinstance(value, bool) else str(value).lower()
    return printed if len(printed) <= 64 else printed[:63] + "…"
