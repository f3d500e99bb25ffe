"""Read the regular expression of a JSON schema's `pattern` into the parts of a grammar.

What it describes are the characters of a JSON string, so quotation marks, backslashes and
control characters appear as escapes, or not at all in classes.
"""

import json

from .grammar import (
    MAX_NESTING,
    Characters,
    GrammarError,
    Part,
    Range,
    Repetition,
    chain,
    characters,
    choice,
    text,
    too_deep,
)

MAX_PATTERN = 10_000
DIGITS: list[Range] = [(ord("0"), ord("9"))]
WORD: list[Range] = [*DIGITS, (ord("a"), ord("z")), (ord("A"), ord("Z")), (ord("_"), ord("_"))]
BLANK: list[Range] = [(ord(" "), ord(" "))]
CLASSES = {"d": DIGITS, "w": WORD, "s": BLANK}
CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "b": "\b"}
ESCAPED: list[Range] = [(0, 31), (127, 127), (ord('"'), ord('"')), (ord("\\"), ord("\\"))]
"""What stands in a JSON string only as an escape."""


def read_pattern(pattern: object) -> Part:
    """The part for a pattern, which must begin with ^ and end with $."""
    if not isinstance(pattern, str):
        raise GrammarError("json_schema: pattern must be a text")
    if len(pattern) > MAX_PATTERN:
        raise GrammarError(
            f"json_schema: pattern may have {MAX_PATTERN:,} characters, not {len(pattern):,}"
        )
    if not (pattern.startswith("^") and pattern.endswith("$")) or len(pattern) < 2:
        raise GrammarError("json_schema: pattern must begin with ^ and end with $")
    return _Pattern(pattern[1:-1]).read()


class _Pattern:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0

    def read(self) -> Part:
        part = self._alternatives(0)
        if self._at < len(self._source):
            raise self._wrong(f"{self._here()!a} is not expected")
        return part

    def _alternatives(self, depth: int) -> Part:
        if depth > MAX_NESTING:
            raise too_deep()
        options = [self._sequence(depth)]
        while self._here() == "|":
            self._at += 1
            options.append(self._sequence(depth))
        return choice(options)

    def _sequence(self, depth: int) -> Part:
        parts: list[Part] = []
        while (here := self._here()) and here not in "|)":
            if here in "*+?{":
                if not parts:
                    raise self._wrong(f"there is nothing that {here} could repeat")
                parts[-1] = self._repeated(parts[-1], here)
            else:
                parts.append(self._item(here, depth))
        return chain(parts)

    def _item(self, here: str, depth: int) -> Part:
        self._at += 1
        if here == "(":
            if self._source.startswith("?:", self._at):
                self._at += 2
            elif self._here() == "?":
                raise self._wrong("groups that begin with (? are not supported")
            part = self._alternatives(depth + 1)
            if self._here() != ")":
                raise self._wrong("a parenthesis is not closed")
            self._at += 1
            return part
        if here == "[":
            return self._class()
        if here == ".":
            return characters(ESCAPED, inverse=True)
        if here == "\\":
            return self._escape()
        if here in "^$":
            raise self._wrong(f"{here} is supported only at its ends")
        return _written(here)

    def _escape(self) -> Part:
        kind = self._here()
        self._at += 1
        if kind.lower() in CLASSES and kind:
            ranges = CLASSES[kind.lower()]
            return characters([*ranges, *ESCAPED], inverse=True) if kind.isupper() else (
                characters(ranges)
            )  # fmt: skip
        return _written(self._escaped(kind))

    def _escaped(self, kind: str) -> str:
        if kind in CONTROLS:
            return CONTROLS[kind]
        if not kind or (kind.isalnum() and kind.isascii()):
            raise self._wrong(f"the escape \\{kind} is not supported")
        return kind

    def _class(self) -> Part:
        inverse = self._here() == "^"
        self._at += inverse
        ranges: list[Range] = []
        while (here := self._next()) != "]" or not ranges:
            if here == "\\":
                kind = self._next()
                if kind in CLASSES:
                    ranges.extend(CLASSES[kind])
                    continue
                here = self._escaped(kind)
            last = here
            if self._here() == "-" and self._source[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last = self._next()
                last = self._escaped(self._next()) if last == "\\" else last
            if last < here:
                raise self._wrong("a range goes backwards")
            ranges.append((ord(here), ord(last)))
        if inverse:
            return characters([*ranges, *ESCAPED], inverse=True)
        return _plain(characters(ranges))

    def _repeated(self, part: Part, here: str) -> Part:
        self._at += 1
        if here == "*":
            return Repetition(part, 0, None)
        if here == "+":
            return Repetition(part, 1, None)
        if here == "?":
            return Repetition(part, 0, 1)
        end = self._source.find("}", self._at)
        numbers = self._source[self._at : max(end, self._at)].split(",")
        self._at = end + 1
        fine = all(n.isdecimal() and n.isascii() and len(n) <= 20 for n in filter(None, numbers))
        if end < 0 or not fine or len(numbers) > 2 or not any(numbers):
            raise self._wrong("a repetition must be as in {2,5}")
        least = int(numbers[0] or 0)
        try:
            return Repetition(part, least, int(numbers[-1]) if numbers[-1] else None)
        except GrammarError as error:
            raise GrammarError(f"json_schema: pattern: {error}") from None

    def _here(self) -> str:
        return self._source[self._at : self._at + 1]

    def _next(self) -> str:
        here = self._here()
        if not here:
            raise self._wrong("a class is not closed")
        self._at += 1
        return here

    def _wrong(self, what: str) -> GrammarError:
        return GrammarError(f"json_schema: pattern: {what}, at character {self._at + 1}")


def _written(character: str) -> Part:
    """A character as it stands in a JSON string."""
    return text(json.dumps(character, ensure_ascii=False)[1:-1])


def _plain(found: Characters) -> Part:
    """`found`, but what must be escaped in a JSON string as its escapes."""
    outside = characters(ESCAPED, inverse=True)
    escapes = [
        _written(chr(code))
        for low, high in found.ranges
        for first, last in ESCAPED
        for code in range(max(low, first), min(high, last) + 1)
    ]
    plain = [
        (max(low, first), min(high, last))
        for low, high in found.ranges
        for first, last in outside.ranges
    ]
    return choice([characters(plain), *escapes])
