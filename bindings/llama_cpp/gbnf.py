"""Read a grammar in GBNF, llama.cpp's notation, into the parts of a grammar.

It reads what llama.cpp reads, except token elements (`<...>`), which can end llama.cpp's
process. Nothing here calls itself, so no text can exhaust the stack.
"""

import re

from .grammar import (
    LAST_CHARACTER,
    MAX_NESTING,
    Characters,
    GrammarError,
    Part,
    Range,
    Reference,
    Repetition,
    Rules,
    Words,
    chain,
    characters,
    choice,
    optional,
    too_deep,
)

SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
SPACE_AND_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
NAME = re.compile(r"[a-zA-Z0-9-]+")
PLAIN = re.compile(r'[^"\\]+')
BRACES = re.compile(r"\{[ \t\r\n]*([0-9]{1,20})[ \t\r\n]*(,?)[ \t\r\n]*([0-9]{0,20})[ \t\r\n]*\}")
HEXADECIMAL = re.compile(r"[0-9a-fA-F]+\Z")
ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}
HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def read(source: str) -> Rules:
    """The rules of a grammar; GrammarError says what cannot be read, and where."""
    return _Reader(source).rules()


class _Level:
    """The alternatives between two parentheses, or of a rule; the last one is being read."""

    def __init__(self) -> None:
        self.alternatives: list[Part] = []
        self.parts: list[Part] = []
        self.repeatable = False
        """Whether a quantifier may follow."""

    def next_alternative(self) -> None:
        self.alternatives.append(chain(self.parts))
        self.parts = []
        self.repeatable = False

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.repeatable = True

    def repeat(self, least: int, most: int | None) -> None:
        part = self.parts[-1]
        if (least, most) == (0, 1):
            self.parts[-1] = optional(part)
        else:
            self.parts[-1] = Repetition(part, least, most)

    def end(self) -> Part:
        self.next_alternative()
        return choice(self.alternatives)


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0

    def rules(self) -> Rules:
        if "\0" in self._source:
            raise GrammarError("the grammar has a NUL character")
        rules: Rules = {}
        self._skip(SPACE_AND_LINES)
        while self._at < len(self._source):
            name = self._name()
            self._skip(SPACE)
            if not self._source.startswith("::=", self._at):
                raise self._expected("::=")
            self._at += 3
            self._skip(SPACE_AND_LINES)
            rules[name] = self._alternatives()
            if self._at < len(self._source) and self._here() not in "\r\n":
                raise self._expected("the end of the line")
            self._skip(SPACE_AND_LINES)
        return rules

    def _alternatives(self) -> Part:
        """What follows `::=`, up to the end of its line."""
        levels = [_Level()]
        while True:
            level, here = levels[-1], self._here()
            if here == "(":
                if len(levels) > MAX_NESTING:
                    raise too_deep()
                levels.append(_Level())
                self._skip_one(SPACE_AND_LINES)
                continue
            if here == "|":
                level.next_alternative()
                self._skip_one(SPACE_AND_LINES)
                continue
            if here == ")" and len(levels) > 1:
                part = levels.pop().end()
                levels[-1].add(part)
                self._at += 1
            elif not self._item(level, here):
                if len(levels) > 1:
                    raise self._expected("`)`")
                return level.end()
            self._skip(SPACE_AND_LINES if len(levels) > 1 else SPACE)

    def _item(self, level: _Level, here: str) -> bool:
        """Read a text, a class, a name or a quantifier; False if there is none."""
        if here == '"':
            level.add(Words([self._text()]))
        elif here == "[":
            level.add(self._class())
        elif here == ".":
            self._at += 1
            level.add(characters([], inverse=True))
        elif NAME.match(here):
            level.add(Reference(self._name()))
        elif here and here in "*+?{":
            if not level.repeatable:
                raise self._expected("something to repeat before this")
            level.repeat(*self._quantifier(here))
        elif here in ("<", "!"):
            raise GrammarError(f"the grammar names tokens{self._where()}, which is not supported")
        else:
            return False
        return True

    def _quantifier(self, here: str) -> tuple[int, int | None]:
        if here != "{":
            self._at += 1
            return QUANTIFIERS[here]
        found = BRACES.match(self._source, self._at)
        if not found:
            raise self._expected("a number of repetitions, as in {2,5}")
        self._at = found.end()
        least, comma, most = found.groups()
        if not comma:
            if most:
                raise self._expected("a comma in the braces before this")
            return int(least), int(least)
        return int(least), int(most) if most else None

    def _text(self) -> str:
        pieces = []
        self._at += 1
        while (here := self._here()) != '"':
            if here == "\\":
                pieces.append(chr(self._character()))
            elif plain := PLAIN.match(self._source, self._at):
                pieces.append(plain[0])
                self._at = plain.end()
            else:
                raise self._expected("a quotation mark")
        self._at += 1
        return "".join(pieces)

    def _class(self) -> Part:
        self._at += 1
        inverse = self._here() == "^"
        self._at += inverse
        ranges: list[Range] = []
        while self._here() != "]":
            low = high = self._character()
            if self._here() == "-" and self._source[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                high = self._character()
            ranges.append((low, high))
        self._at += 1
        if not ranges:  # llama.cpp takes both for nothing
            return Words([""])
        found: Characters = characters(ranges, inverse=inverse)
        return found

    def _character(self) -> int:
        """The code point of a character or an escape."""
        here = self._here()
        if not here:
            raise self._expected("`]`")
        self._at += 1
        if here != "\\":
            return ord(here)
        kind = self._here()
        self._at += 1
        if kind in ESCAPES:
            return ord(ESCAPES[kind])
        digits = self._source[self._at : self._at + HEX_DIGITS.get(kind, 0)]
        if not digits or len(digits) < HEX_DIGITS[kind] or not HEXADECIMAL.match(digits):
            raise self._expected("an escape such as \\n or \\x0A")
        self._at += len(digits)
        if (value := int(digits, 16)) > LAST_CHARACTER:
            raise self._expected("a character of Unicode")
        return value

    def _name(self) -> str:
        found = NAME.match(self._source, self._at)
        if not found:
            raise self._expected("the name of a rule")
        self._at = found.end()
        return found[0]

    def _here(self) -> str:
        return self._source[self._at : self._at + 1]

    def _skip(self, space: re.Pattern[str]) -> None:
        found = space.match(self._source, self._at)
        assert found
        self._at = found.end()

    def _skip_one(self, space: re.Pattern[str]) -> None:
        self._at += 1
        self._skip(space)

    def _where(self) -> str:
        line = self._source.count("\n", 0, self._at) + 1
        return f" in line {line}, column {self._at - self._source.rfind(chr(10), 0, self._at)}"

    def _expected(self, what: str) -> GrammarError:
        return GrammarError(f"the grammar cannot be parsed: {what} is expected{self._where()}")
