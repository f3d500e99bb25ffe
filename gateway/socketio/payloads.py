"""Parse the arguments of clients' events into typed requests, or one sentence why not.

Every payload is parsed here, and only the typed requests go on. The parsers accept what real
clients send: no payload at all, extra keys, numbers as text, three positional arguments
instead of an object.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadRequest
from gateway.sessions.planning import RAW, GenerateText
from gateway.validation import (
    MAX_ID,
    MAX_PREDICT,
    MAX_PROMPT,
    Payload,
    integer,
    sampling_parameters,
    shown,
    text,
    texts,
)

MAX_IDS = 2**20
MAX_LENIENT = 2**14
"""Token ids of which some may be texts or floats that are whole numbers."""
MAX_TOKEN = 64
"""Characters of a session token."""

Reader = Callable[[Payload], Any]
"""Parses the payload of an event. Raises BadRequest."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """In place of an event's arguments that cannot be parsed, or exceed the rate limit."""

    why: str
    """One sentence for the client."""


@dataclass(frozen=True, slots=True)
class Activation:
    """By id, or by the name that one client sends. `id` is None when it is no valid id."""

    id: int | None
    name: str | None = None


def payload(arguments: Sequence[Any]) -> Payload:
    """The first argument as an object; missing or null is an empty one."""
    first = arguments[0] if arguments else None
    if first is None:
        return {}
    if isinstance(first, Rejected):
        raise BadRequest(first.why)
    if not isinstance(first, dict):
        raise BadRequest(f"the payload must be an object, not {shown(first)}")
    return first


def nothing(data: Payload) -> None:
    """For events without a payload: it is ignored."""


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
    """`limit` of the prompt, in characters."""
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
        sampling=sampling_parameters(parameters),
        stop=_stops(parameters.get("stop")),
    )


def _n_predict(data: Payload) -> int | None:
    """None, the server's default, for -1 or nothing."""
    wanted = integer(data, "n_predicts", -1, -1, MAX_PREDICT)
    if wanted == 0:
        raise BadRequest(f"n_predicts must be from 1 to {MAX_PREDICT}, not 0")
    return None if wanted == -1 else wanted


def token_ids(data: Payload) -> list[int]:
    """The ids of `detokenize`, under `tokens`, or under `prompt` as in the original."""
    name = "tokens" if "tokens" in data else "prompt"
    value = data.get(name)
    if not isinstance(value, list) or len(value) > MAX_IDS:
        what = f"a list of up to {MAX_IDS} token ids"
        raise BadRequest(f"{name} must be {what}, not {shown(value)}")
    if {int}.issuperset(map(type, value)) and (
        not value or 0 <= min(value) <= max(value) <= MAX_ID
    ):
        return value
    if len(value) > MAX_LENIENT:  # one by one they would hold the event loop
        raise BadRequest(f"so many {name} must be whole numbers from 0 to {MAX_ID}")
    if None in value:
        raise BadRequest(f"{name} must hold token ids only, not nothing")
    return [integer({name: token}, name, -1, 0, MAX_ID) for token in value]


def _stops(value: Any) -> tuple[str, ...]:
    return () if value is None else tuple(stop for stop in texts("stop", value) if stop)


@dataclass(frozen=True, slots=True)
class ResumeAuth:
    """What a client sends about its session in `auth`, when it connects."""

    resumable: bool
    """It sent a session token, even if an empty one: it may come back."""
    token: str
    """The token of the session to resume, or ""."""
    id: str
    """The id of the generation whose beginning it has, or ""."""
    have: int
    """How many characters of it the client has."""
    events: bool
    """It wants notices while a request waits or is paused."""


def resume_auth(auth: Any) -> ResumeAuth:
    """Never raise: invalid fields are ignored."""
    given = auth if isinstance(auth, dict) else {}
    token, id, have = given.get("session"), given.get("id"), given.get("have")
    return ResumeAuth(
        resumable=token is not None,
        token=token if isinstance(token, str) and len(token) <= MAX_TOKEN else "",
        id=id if isinstance(id, str) else "",
        have=have if isinstance(have, int) and have > 0 else 0,
        events=given.get("events") is True,
    )
