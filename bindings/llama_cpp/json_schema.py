"""Read a JSON schema into the parts of a grammar.

What is supported, and what of the rest is ignored, is as in llama.cpp's own converter.
Each schema that is referred to is read once, so the grammar is about as long as the schema.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from .grammar import (
    MAX_NESTING,
    MAX_STATES,
    GrammarError,
    Part,
    Reference,
    Repetition,
    Rules,
    Words,
    chain,
    choice,
    optional,
    text,
    too_deep,
    too_large,
)
from .json_rules import (
    CHARACTER,
    COMMA,
    FORMATS,
    PRIMITIVES,
    SPACE,
    TYPES,
    members,
    quoted,
    separated,
)
from .schema_pattern import read_pattern

Schema = dict[str, Any]


def read(source: str) -> Rules:
    """The rules of a schema; GrammarError says what cannot be turned into a grammar."""
    try:
        schema = json.loads(source)
    except RecursionError:
        raise too_deep() from None
    except ValueError as error:
        raise GrammarError(f"json_schema is not JSON: {str(error)[:200]}") from None
    if not isinstance(schema, dict):
        raise GrammarError("json_schema must be a JSON object")
    converter = _Converter(schema)
    root = converter.part(schema, 0) if schema else Reference("object")
    return {**PRIMITIVES, **converter.rules, "root": root}


class _Converter:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self.rules: Rules = {}
        self._references: dict[int, Reference] = {}
        """By the identity of what they lead to: a place can be written in many ways."""
        self._elements = 0

    def part(self, schema: object, depth: int) -> Part:
        """What matches `schema`, which is `depth` schemas inside the whole one."""
        self._count(1)
        if depth > MAX_NESTING:
            raise too_deep()
        if schema is True:
            return Reference("value")
        if not isinstance(schema, dict):
            raise GrammarError(f"json_schema: a schema must be an object, not {_shown(schema)}")
        if "$ref" in schema:
            return self._reference(schema["$ref"], depth)
        for name in ("oneOf", "anyOf"):
            if name in schema:
                return choice([self.part(each, depth + 1) for each in _list(schema, name)])
        if "const" in schema:
            return self._constants([schema["const"]])
        if "enum" in schema:
            return self._constants(_list(schema, "enum"))
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = [each for each in TYPES if each in _list(schema, "type")]
            return choice([self._typed(schema, each, depth) for each in kinds or _no_type(kind)])
        if kind is not None and kind not in TYPES:
            _no_type(kind)
        return self._typed(schema, kind, depth)

    def _typed(self, schema: Schema, kind: str | None, depth: int) -> Part:
        if kind in (None, "object"):
            if "allOf" in schema:
                return self._all_of(schema, depth)
            if "properties" in schema or schema.get("additionalProperties", True) is not True:
                return self._object(schema, depth)
        if kind in (None, "array") and ("items" in schema or "prefixItems" in schema):
            return self._array(schema, depth)
        if kind in (None, "string"):
            if "pattern" in schema:
                self._count(len(str(schema["pattern"])))
                return quoted(read_pattern(schema["pattern"]))
            if (name := str(schema.get("format"))) in FORMATS:
                return quoted(FORMATS[name])
            if "minLength" in schema or "maxLength" in schema:
                return quoted(_repetition(CHARACTER, schema, "minLength", "maxLength", Repetition))
        if kind == "array" and ("minItems" in schema or "maxItems" in schema):
            return self._array({"items": True, **schema}, depth)
        return Reference(kind or "value")

    def _reference(self, pointer: object, depth: int) -> Part:
        if not isinstance(pointer, str) or not (pointer + "/").startswith("#/"):
            raise GrammarError(
                f"json_schema: $ref must be a place in the schema, as in #/$defs/x, "
                f"not {_shown(pointer)}"
            )
        target = self._at(pointer)
        if id(target) not in self._references:
            name = f"reference-{len(self._references)}"
            self._references[id(target)] = Reference(name)
            self.rules[name] = self.part(target, depth + 1)
        return self._references[id(target)]

    def _at(self, pointer: str) -> object:
        target: Any = self._root
        for step in pointer.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isdecimal() and int(key[:9]) < len(target):
                target = target[int(key[:9])]
            else:
                raise GrammarError(f"json_schema: $ref {_shown(pointer)} leads nowhere")
        return target

    def _array(self, schema: Schema, depth: int) -> Part:
        items = schema.get("items") or schema.get("prefixItems") or schema.get("items", True)
        if isinstance(items, list):
            parts = [self.part(each, depth + 1) for each in items]
            found = [part for each in parts for part in (COMMA, each)][1:]
            return chain([text("["), SPACE, *found, text("]"), SPACE])
        item = self._named("item", self.part(items, depth + 1))
        inner = _repetition(item, schema, "minItems", "maxItems", separated)
        return chain([text("["), SPACE, inner, text("]"), SPACE])

    def _all_of(self, schema: Schema, depth: int) -> Part:
        """The properties of all; those of an `anyOf` inside are optional."""
        properties: Schema = dict(_object(schema, "properties"))
        required = _required(schema)
        for each in _list(schema, "allOf"):
            each = _schema(each)
            options = _list(each, "anyOf") if "anyOf" in each else [each]
            for option in options:
                option = _schema(option)
                if "$ref" in option:
                    self._reference(option["$ref"], depth)
                    option = _schema(self._at(option["$ref"]))
                found = _object(option, "properties")
                self._count(len(found))
                properties.update(found)
                if "anyOf" not in each:
                    required.update(found)
        merged = {"properties": properties, "required": sorted(required),
                  "additionalProperties": False}  # fmt: skip
        return self._object(merged, depth)

    def _object(self, schema: Schema, depth: int) -> Part:
        """The required properties and then the others, each in the order of the schema."""
        required = _required(schema)
        needed: list[Part] = []
        others: list[Part] = []
        for name, each in _object(schema, "properties").items():
            self._count(len(name))
            key = chain([text(json.dumps(name, ensure_ascii=False)), SPACE])
            member = self._named("member", members(key, self.part(each, depth + 1)))
            (needed if name in required else others).append(member)
        more = schema.get("additionalProperties", False)
        if more is not False:
            member = members(Reference("string"), self.part(more, depth + 1))
            rest = Repetition(chain([COMMA, member]), 0, None)
            others.append(self._named("members", chain([member, rest])))
        inner = [part for each in needed for part in (COMMA, each)][1:]
        if others:
            following = self._any_of_in_order(others)
            inner.append(optional(chain([COMMA, following]) if needed else following))
        return chain([text("{"), SPACE, *inner, text("}"), SPACE])

    def _any_of_in_order(self, members: list[Part]) -> Part:
        """One or more of `members` in their order, with commas between."""
        rest: Part = text("")
        options: list[Part] = []
        for member in reversed(members):
            options.append(chain([member, rest]))
            rest = self._named("rest", chain([optional(chain([COMMA, member])), rest]))
        return choice(options[::-1])

    def _constants(self, values: Iterable[object]) -> Part:
        words = [json.dumps(value, ensure_ascii=False) for value in values]
        self._count(sum(map(len, words)))
        return Words(words)

    def _count(self, elements: int) -> None:
        """Before the grammar is compiled: what `allOf` refers to is read again each time."""
        self._elements += elements
        if self._elements > MAX_STATES:
            raise too_large()

    def _named(self, name: str, part: Part) -> Part:
        """A rule of its own, because the part is used more than once, or to limit the depth."""
        number = f"{name}-{len(self.rules)}"
        self.rules[number] = part
        return Reference(number)


def _no_type(kind: object) -> list[str]:
    raise GrammarError(f"json_schema: there is no type {_shown(kind)}")


def _repetition(
    part: Part, schema: Schema, low: str, high: str,
    repeat: Callable[[Part, int, int | None], Part],
) -> Part:  # fmt: skip
    """As often as two fields of the schema say; an error names them."""
    least, most = _count(schema, low) or 0, _count(schema, high)
    try:
        return repeat(part, least, most)
    except GrammarError as error:
        field = low if most is None or most < least else high
        raise GrammarError(f"json_schema: {field}: {error}") from None


def _count(schema: Schema, name: str) -> int | None:
    value = schema.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (type(value) is int and value >= 0):
        return value
    raise GrammarError(f"json_schema: {name} must be a whole number, not {_shown(value)}")


def _object(schema: Schema, name: str) -> Schema:
    value = schema.get(name, {})
    if not isinstance(value, dict):
        raise GrammarError(f"json_schema: {name} must be an object, not {_shown(value)}")
    return value


def _required(schema: Schema) -> set[str]:
    names = schema.get("required", [])
    if not isinstance(names, list):
        raise GrammarError(f"json_schema: required must be a list, not {_shown(names)}")
    return set(map(str, names))


def _schema(value: object) -> Schema:
    if not isinstance(value, dict):
        raise GrammarError(f"json_schema: a schema must be an object, not {_shown(value)}")
    return value


def _list(schema: Schema, name: str) -> list[Any]:
    value = schema[name]
    if not isinstance(value, list) or not value:
        raise GrammarError(f"json_schema: {name} must be a list with something in it")
    return value


def _shown(value: object) -> str:
    return repr(value)[:100]
