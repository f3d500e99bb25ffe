"""Checks of untrusted values: the value, or BadRequest with one sentence.

The sentence names the field, the expected value, and the given one, truncated.
"""

import math
from dataclasses import MISSING, fields
from typing import Any

from gateway.errors import BadRequest
from protocol.sampling import Sampling

MAX_NAME = 1000
MAX_TEXTS = 64
MAX_PROMPT = 1_000_000
"""Characters, unless the setting `max_prompt` says otherwise."""
MAX_PREDICT = 1_000_000
MAX_GRAMMAR = 100_000
"""Characters of a grammar or a JSON schema."""
MAX_BIASES = 1000
MAX_ID = 2**31 - 1
"""Of a token."""

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
    """A text, or a list of texts."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > MAX_TEXTS:
        raise BadRequest(f"{name} must be a list of up to {MAX_TEXTS} texts, not {shown(value)}")
    return tuple(text({name: each}, name) for each in values)


def sampling_parameters(parameters: Payload) -> dict[str, Any]:
    """A client's sampling parameters, each checked against its range. Unknown ones are left
    out."""
    taken: dict[str, Any] = {}
    for known in fields(Sampling):
        value = parameters.get(known.name)
        if value is not None:
            taken[known.name] = _parameter(known, parameters)
    return taken


def _parameter(known: Any, parameters: Payload) -> Any:
    name, value = known.name, parameters[known.name]
    if "low" in known.metadata:
        read = number if known.type is float else integer
        return read(parameters, name, known.default, known.metadata["low"], known.metadata["high"])
    if known.type is bool:
        if not isinstance(value, bool):
            raise BadRequest(f"{name} must be true or false, not {shown(value)}")
        return value
    if known.default is not MISSING:
        return text(parameters, name, limit=MAX_GRAMMAR)
    if name == "logit_bias":
        return _biases(name, value)
    return list(texts(name, value))


def _biases(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > MAX_BIASES:
        what = f"an object of up to {MAX_BIASES} token ids"
        raise BadRequest(f"{name} must be {what}, not {shown(value)}")
    biases = {}
    for token, bias in value.items():
        id = integer({f"a token id in {name}": token}, f"a token id in {name}", 0, 0, MAX_ID)
        biases[str(id)] = number({f"a bias in {name}": bias}, f"a bias in {name}", 0, -1e9, 1e9)
    return biases


def shown(value: Any) -> str:
    """The value in a few characters that are safe to print and to send."""
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
