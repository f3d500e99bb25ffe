"""What do clients really send? From an event's arguments to a typed request, or one sentence.

Lenient where real clients are sloppy: no payload at all, extra keys, numbers as
text, three positional arguments instead of an object.
"""

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from protocol.sampling import Sampling

MAX_PROMPT = 16 * 2**20
"""Characters."""
MAX_NAME = 1000
MAX_STOPS = 64
MAX_PREDICT = 1_000_000
MAX_IDS = 2**20
RAW = -1
"""The `personality` that means: the prompt goes to the model as it is."""

Payload = dict[str, Any]


class BadRequest(ValueError):
    """The payload does not fit. The text is one sentence for the client; nothing has changed."""


@dataclass(frozen=True, slots=True)
class GenerateText:
    prompt: str
    personality: int
    n_predict: int | None
    sampling: dict[str, Any]
    """What the request itself sets, checked; the rest is the personality's or the default."""
    stop: tuple[str, ...]


def payload(arguments: Sequence[Any]) -> Payload:
    """The first argument as an object; missing or null is an empty one."""
    first = arguments[0] if arguments else None
    if first is None:
        return {}
    if not isinstance(first, dict):
        raise BadRequest(f"the payload must be an object, not {shown(first)}")
    return first


def generate_text(arguments: Sequence[Any]) -> GenerateText:
    if arguments and isinstance(arguments[0], str):
        # The pages of early 2023 emit (prompt, personality, n_predicts).
        names = ("prompt", "personality", "n_predicts")
        data: Payload = dict(zip(names, arguments, strict=False))
    else:
        data = payload(arguments)
    parameters = data.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"parameters must be an object, not {shown(parameters)}")
    return GenerateText(
        prompt=text(data, "prompt", limit=MAX_PROMPT),
        personality=integer(data, "personality", RAW, RAW, 2**31) if "personality" in data else RAW,
        n_predict=_n_predict(data),
        sampling=sampling(parameters),
        stop=_stops(parameters.get("stop")),
    )


def _n_predict(data: Payload) -> int | None:
    """-1 is the usual way to leave it to the server."""
    wanted = integer(data, "n_predicts", -1, -1, MAX_PREDICT)
    if wanted == 0:
        raise BadRequest(f"n_predicts must be from 1 to {MAX_PREDICT}, not 0")
    return None if wanted == -1 else wanted


def sampling(parameters: Payload) -> dict[str, Any]:
    """The known ones among a client's parameters, each checked against its range."""
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
        return text(parameters, name, limit=MAX_PROMPT)
    if name == "logit_bias":
        if not isinstance(value, dict) or len(value) > MAX_NAME:
            raise BadRequest(f"{name} must be an object of token ids, not {shown(value)}")
        return {
            str(integer({name: token}, name, 0, 0, 2**31)): number(value, token, 0, -1e9, 1e9)
            for token in value
        }
    return list(_texts(name, value))


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


def token_ids(data: Payload) -> list[int]:
    """`detokenize` has them under `prompt`, as the original did, or under `tokens`."""
    name = "tokens" if "tokens" in data else "prompt"
    value = data.get(name)
    if not isinstance(value, list) or len(value) > MAX_IDS:
        raise BadRequest(f"{name} must be a list of token ids, not {shown(value)}")
    return [integer({name: token}, name, -1, 0, 2**31) for token in value]


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(stop for stop in _texts("stop", value) if stop)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or len(values) > MAX_STOPS:
        raise BadRequest(f"{name} must be a list of up to {MAX_STOPS} texts, not {shown(value)}")
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
        return f"{len(value)} bytes"
    elif isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        return f"{kind} of {len(value)}"
    printed = ascii(value) if not isinstance(value, bool) else str(value).lower()
    return printed if len(printed) <= 64 else printed[:63] + "…"
