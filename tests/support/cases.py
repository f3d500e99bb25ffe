"""Hostile payloads: each event with each kind of value in each field, as JSON text."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

DEEP = "[" * 10_000 + "]" * 10_000
VALUES = {
    "missing": "", "null": "null", "true": "true", "false": "false", "zero": "0", "-1": "-1",
    "half": "1.5", "2^63": str(2**63), "5,000 digits": "9" * 5000, "NaN": "NaN",
    "-Infinity": "-Infinity", "1e999": "1e999", "empty text": '""', "NUL": r'"\u0000"',
    "lone surrogate": r'"\ud800"', "2 MB": '"' + "x" * 2_000_000 + '"', "list": "[]",
    "list of text": '["a"]', "list of null": "[null]", "object": "{}", "unknown key": '{"a": [1]}',
    "10,000 deep": DEEP, "bytes": '{"_placeholder": true, "num": 0}',
}  # fmt: skip
NAMES = [
    "..", ".", "/", "../outside", "/etc/passwd", "%2e%2e/outside", "..%2foutside", "....//outside",
    "..\\\\outside", "echo/../../outside", "echo/", "./echo", "echo\\u0000", "echo.", "echo ",
    "ECHO", "english/a/b/../b", "english//a/b", "english/a", "English", "english/a/b/config.yaml",
    "../secret/english/a/hidden", "~", "$HOME", "file:///etc/passwd", "nul", "\\u202e", "a\\nb",
    "x" * 100_000,
]  # fmt: skip
"""Names that no listing contains: links, parent folders, other spellings. JSON-escaped."""
RESERVED = [
    "connect", "disconnect", "connect_error", "message", "error", "ping", "*", "__class__",
    "__init__", "handle", "_table", "", " ", "generate_text ", "Generate_Text", "\\u0000",
    "\\ud800", "request", "text_generated", "x" * 10_000, "\\u001b[31m", "a\\nb",
]  # fmt: skip

REPLIES = {
    "list_available_bindings": "bindings_list",
    "list_available_personalities": "personalities_list",
    "list_available_personalities_languages": "available_personalities_languages_list",
    "list_available_personalities_categories": "available_personalities_categories_list",
    "list_available_personalities_names": "list_available_personalities_names_list",
    "list_available_models": "available_models_list",
    "select_binding": "select_binding",
    "select_model": "select_model",
    "add_personality": "personality_added",
    "activate_personality": "activate_personality",
    "list_active_personalities": "active_personalities_list",
    "tokenize": "tokenized",
    "detokenize": "detokenized",
    "embed": "embeded",
    "generate_text": "text_generated",
    "cancel_generation": "generation_canceled",
}
FAILURES = {
    **{event: [reply] for event, reply in REPLIES.items()},
    "add_personality": ["personality_add_failed"],
    "activate_personality": ["personality_add_failed", "activate_personality"],
    "generate_text": ["generation_error"],
}
NO_PAYLOAD = [
    event for event in REPLIES if event.startswith("list_") and "categories" not in event
    and "names" not in event
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    event: str
    what: str
    payload: str
    fine: bool | None
    """Whether it has to succeed; None if both are right."""
    about: str = ""
    """What the error message must contain."""
    attachment: bool = False

    @property
    def expected(self) -> list[str]:
        return FAILURES.get(self.event, ["error"])


NULL = {"missing", "null"}
TEXT = {"empty text", "NUL"}
FIELDS: dict[tuple[str, str], tuple[str, set[str]]] = {
    # (event, field): payload around the field, and the values that are valid
    ("list_available_personalities_categories", "language"): ("{%s}", NULL),
    ("list_available_personalities_names", "category"): ("{%s}", set()),
    ("list_available_personalities_names", "language"): ('{"category": "a"%s}', NULL),
    ("select_binding", "binding_name"): ("{%s}", set()),
    ("select_model", "model_name"): ("{%s}", set()),
    ("add_personality", "path"): ("{%s}", set()),
    ("activate_personality", "id"): ("{%s}", set()),
    ("activate_personality", "personality_name"): ("{%s}", set()),
    ("tokenize", "prompt"): ("{%s}", TEXT),
    ("detokenize", "tokens"): ("{%s}", {"list"}),
    ("detokenize", "prompt"): ("{%s}", {"list"}),
    ("embed", "prompt"): ("{%s}", set()),
    ("generate_text", "prompt"): ('{"n_predicts": 2%s}', TEXT),
    ("generate_text", "personality"): ('{"prompt": "x", "n_predicts": 2%s}', NULL | {"-1"}),
    ("generate_text", "n_predicts"): ('{"prompt": "x"%s}', NULL | {"-1"}),
    ("generate_text", "parameters"): (
        '{"prompt": "x", "n_predicts": 2%s}', NULL | {"object", "unknown key"},
    ),
    ("generate_text", "temperature"): (
        '{"prompt": "x", "n_predicts": 2, "parameters": {%s}}', NULL | {"zero", "half"},
    ),
    ("generate_text", "top_k"): (
        '{"prompt": "x", "n_predicts": 2, "parameters": {%s}}', NULL | {"zero"},
    ),
    ("generate_text", "seed"): (
        '{"prompt": "x", "n_predicts": 2, "parameters": {%s}}', NULL | {"zero", "-1"},
    ),
    ("generate_text", "stop"): (
        '{"prompt": "x", "n_predicts": 2, "parameters": {%s}}',
        NULL | TEXT | {"list", "list of text"},
    ),
    ("generate_text", "logit_bias"): (
        '{"prompt": "x", "n_predicts": 2, "parameters": {%s}}', NULL | {"object"},
    ),
    ("generate_text", "grammar"): (
        '{"prompt": "x", "n_predicts": 2, "parameters": {%s}}', NULL | TEXT,
    ),
    ("generate_text", "ignore_eos"): (
        '{"prompt": "x", "n_predicts": 2, "parameters": {%s}}', NULL | {"true", "false"},
    ),
}  # fmt: skip
UNKNOWN = {
    "binding_name": "no binding named", "model_name": "no model named", "path": "no personality at",
    "language": "no language named", "category": "no category named", "prompt": "",
}  # fmt: skip
"""The error message for a valid field that names nothing that exists."""
PAYLOADS = ["null", "5", "true", '"text"', "[]", "NaN", DEEP, "9" * 5000, r'"\ud800"', "{}, 1, 2"]


def in_fields() -> Iterator[Case]:
    for (event, field), (frame, fine) in FIELDS.items():
        for what, value in VALUES.items():
            inside = f'"{field}": {value}' if value else ""
            if inside and not frame.endswith("{%s}}") and frame != "{%s}":
                inside = ", " + inside
            ok = None if event == "embed" and what in TEXT else what in fine
            if field == "n_predicts" and ok:
                inside += ', "parameters": {"stop": " "}'  # stops a long answer
            yield Case(event, f"{field} {what}", frame % inside, ok, about(event, field, what),
                       attachment=what == "bytes")  # fmt: skip


def about(event: str, field: str, what: str) -> str:
    if what == "10,000 deep":
        return "deep"  # the parser fails before it knows the field
    if event == "activate_personality":
        return "ID"  # the error message of the LoLLMs documentation
    if (field, what) == ("tokens", "missing"):
        return "prompt"  # where the original server expects them
    return UNKNOWN[field] if what in TEXT and field in UNKNOWN else field


def as_payloads() -> Iterator[Case]:
    for event in REPLIES:
        for payload in PAYLOADS:
            empty = payload in ("null", "{}, 1, 2")
            lenient = event in NO_PAYLOAD or "categories" in event
            fine: bool | None = event == "cancel_generation" or (empty and lenient)
            if event == "generate_text" and payload.startswith('"text'):
                fine = True  # web pages of early 2023 send positional arguments
            yield Case(event, f"payload {payload[:12]}", payload, fine)


def names() -> Iterator[Case]:
    for event, field in (
        ("select_binding", "binding_name"), ("select_model", "model_name"),
        ("add_personality", "path"), ("list_available_personalities_categories", "language"),
    ):  # fmt: skip
        for name in NAMES:
            yield Case(event, f"{field} {name[:20]}", f'{{"{field}": "{name}"}}', False)


def unknown() -> Iterator[Case]:
    for name in RESERVED:
        yield Case(name, "unknown", "{}", False)


CASES = [*in_fields(), *as_payloads(), *names(), *unknown()]


def _schema(value: object) -> dict[str, str]:
    return {"json_schema": json.dumps(value)}


def _grammar(source: str) -> dict[str, str]:
    return {"grammar": f"root ::= {source}"}


TWICE = {f"a_{n}": {"anyOf": [{"$ref": f"#/$defs/a_{n + 1}"}] * 2} for n in range(40)}
HOSTILE_GRAMMARS = {
    "maxLength 50,000,000": _schema({"type": "string", "maxLength": 50_000_000}),
    "minLength 10^8": _schema({"type": "string", "minLength": 10**8}),
    "maxItems 10^8": _schema({"type": "array", "items": {"type": "string"}, "maxItems": 10**8}),
    "open parentheses": _grammar("(" * 49_000),
    "nested parentheses": _grammar("(" * 49_000 + '"a"' + ")" * 49_000),
    "quantified quantifiers": _grammar('"a"' + "?" * 50_000),
    "left recursion": _grammar('root "a" | "b"'),
    "left recursion behind what is empty": _grammar('x root "a" | "b"\nx ::= y\ny ::= ""'),
    "a repetition backwards": _grammar('"a"{5,2}'),
    "3,000 stars": _grammar("[a-z ]*" * 3000 + " " + "x? " * 25_000 + '\nx ::= "q"'),
    "a token": _grammar('"a" <[5]>'),
    "an endless reference": _schema({"$ref": "#"}),
    "a deep schema": {"json_schema": '{"items":' * 5000 + "{}" + "}" * 5000},
    "a pattern of 10^8": _schema({"type": "string", "pattern": "^(a{10000}){100000000}$"}),
    "a deep pattern": _schema({"pattern": "^" + "(" * 4000 + "a" + ")" * 4000 + "$"}),
}
"""Refused, with the limit; most of them would end or stall llama.cpp's own parser."""
EXPENSIVE_GRAMMARS = {
    "maxLength 50,000": _schema({"type": "string", "maxLength": 50_000}),
    "maxItems 50,000": _schema({"type": "array", "items": {"type": "string"}, "maxItems": 50_000}),
    "50 stars": _grammar("[a-z ]* " * 50),
    "1,000 stars": _grammar("[a-z ]* " * 1000),
    "an expensive second token": _grammar("[a-z ] " + "[a-z ]* " * 9000),
    "two ways for each letter": _grammar('[a-z ] root "x" | [a-z ] root "y" | "z"'),
    "counted in counted": _grammar("([a-z ]{1,1000}){1,1000}"),
    "references in pairs": _schema({"$ref": "#/$defs/a_0", "$defs": {**TWICE, "a_40": {}}}),
}
"""Answered, or ended when a token costs too much."""
SENSIBLE_SCHEMA = {
    "type": "object",
    "properties": {
        f"field {n}": {"type": "string", "maxLength": 2000}
        if n % 2
        else {"type": "array", "items": {"type": "string", "maxLength": 2000}, "maxItems": 500}
        for n in range(200)
    },
}
