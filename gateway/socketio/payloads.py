"""What do clients really send? From an event's arguments to a typed request, or one sentence.

Every event passes through a reader of this module, and nothing of what a client
sent goes anywhere else. Lenient where real clients are sloppy: no payload at
all, extra keys, numbers as text, three positional arguments instead of an object.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from gateway.errors import BadRequest
from gateway.validation import Payload, integer, number, shown, text, texts
from protocol.sampling import Sampling

MAX_PROMPT = 1_000_000
"""Characters, where nobody has set more or less."""
MAX_GRAMMAR = 100_000
"""Characters of a grammar or a JSON schema."""
MAX_BIASES = 1000
MAX_PREDICT = 1_000_000
MAX_IDS = 2**20
MAX_ID = 2**31 - 1
RAW = -1
"""The `personality` that means: the prompt goes to the model as it is."""

Reader = Callable[[Payload], Any]
"""Takes what its event needs from a payload. Raises BadRequest."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands in place of an event's arguments when these could not be read, or are too many."""

    why: str
    """One sentence for the client."""


@dataclass(frozen=True, slots=True)
class GenerateText:
    prompt: str
    personality: int
    n_predict: int | None
    sampling: dict[str, Any]
    """What the request itself sets, checked; the rest is the personality's or the default."""
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Activation:
    """By id, or by the name that one client sends; None for what is no id at all."""

    id: int | None
    name: str | None = None


def payload(arguments: Sequence[Any]) -> Payload:
    """The first argument as an object; missing or null is an empty one."""
    first = arguments[0] if arguments else None
    if first is None:
        return {}
    if isinstance(first, Unread):
        raise BadRequest(first.why)
    if not isinstance(first, dict):
        raise BadRequest(f"the payload must be an object, not {shown(first)}")
    return first


def nothing(data: Payload) -> None:
    """For what needs no payload: whatever is in it is ignored."""


def named(name: str) -> Reader:
    return lambda data: text(data, name)


def optional(name: str) -> Reader:
    return lambda data: None if data.get(name) is None else text(data, name)


def names(data: Payload) -> tuple[str | None, str]:
    """Language, which may be missing, and category."""
    return optional("language")(data), text(data, "category")


def prompt(limit: int) -> Reader:
    return lambda data: text(data, "prompt", limit=limit)


def activation(data: Payload) -> Activation:
    if "id" not in data and isinstance(data.get("personality_name"), str):
        return Activation(None, data["personality_name"])
    try:
        id = integer(data, "id", -1, 0, 2**31)
    except BadRequest:
        return Activation(None)
    return Activation(id if id >= 0 else None)


def generate_text(arguments: Sequence[Any], limit: int = MAX_PROMPT) -> GenerateText:
    """`limit` is of the prompt, in characters."""
    if arguments and isinstance(arguments[0], str):
        # The pages of early 2023 emit (prompt, personality, n_predicts).
        order = ("prompt", "personality", "n_predicts")
        data: Payload = dict(zip(order, arguments, strict=False))
    else:
        data = payload(arguments)
    parameters = data.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"parameters must be an object, not {shown(parameters)}")
    return GenerateText(
        prompt=text(data, "prompt", limit=limit),
        personality=integer(data, "personality", RAW, RAW, 2**31),
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


def token_ids(data: Payload) -> list[int]:
    """`detokenize` has them under `prompt`, as the original did, or under `tokens`."""
    name = "tokens" if "tokens" in data else "prompt"
    value = data.get(name)
    if not isinstance(value, list) or len(value) > MAX_IDS:
        what = f"a list of up to {MAX_IDS} token ids"
        raise BadRequest(f"{name} must be {what}, not {shown(value)}")
    if None in value:
        raise BadRequest(f"{name} must hold token ids only, not nothing")
    return [integer({name: token}, name, -1, 0, MAX_ID) for token in value]


def _stops(value: Any) -> tuple[str, ...]:
    return () if value is None else tuple(stop for stop in texts("stop", value) if stop)
