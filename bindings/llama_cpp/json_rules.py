"""The rules that every JSON schema's grammar may refer to: the types and formats of JSON."""

from .grammar import (
    Choice,
    Part,
    Reference,
    Repetition,
    Rules,
    Words,
    chain,
    characters,
    choice,
    optional,
    text,
)

SPACE = Reference("space")
COMMA = chain([text(","), SPACE])
DIGIT = characters([(ord("0"), ord("9"))])
HEXADECIMAL = characters([(ord("0"), ord("9")), (ord("a"), ord("f")), (ord("A"), ord("F"))])


def quoted(*parts: Part) -> Part:
    return chain([text('"'), *parts, text('"'), SPACE])


def _ranges(pairs: str) -> Part:
    """One character; `pairs` are the first and last of each range."""
    return characters((ord(a), ord(b)) for a, b in zip(pairs[::2], pairs[1::2], strict=True))


def _digits(count: int) -> Part:
    return Repetition(DIGIT, count, count)


def separated(part: Part, least: int, most: int | None) -> Part:
    """From `least` to `most` of `part`, with commas between."""
    Repetition(part, least, most)  # for its checks
    if most == 0:
        return text("")
    rest = Repetition(
        chain([COMMA, part]), max(0, least - 1), None if most is None else max(0, most - 1)
    )
    return chain([part, rest]) if least else optional(chain([part, rest]))


def members(key: Part, value: Part) -> Part:
    return chain([key, text(":"), SPACE, value])


INTEGRAL = choice([DIGIT, chain([_ranges("19"), Repetition(DIGIT, 0, 15)])])
SIGNED = chain([optional(text("-")), INTEGRAL])
DATE = chain([
    _digits(4), text("-"),
    choice([chain([text("0"), _ranges("19")]), chain([text("1"), _ranges("02")])]), text("-"),
    choice([chain([text("0"), _ranges("19")]), chain([_ranges("12"), DIGIT]),
            chain([text("3"), _ranges("01")])]),
])  # fmt: skip
HOURS = choice([chain([_ranges("01"), DIGIT]), chain([text("2"), _ranges("03")])])
SIXTY = chain([_ranges("05"), DIGIT])
TIME = chain([
    HOURS, text(":"), SIXTY, text(":"), SIXTY, optional(chain([text("."), _digits(3)])),
    choice([text("Z"), chain([_ranges("++--"), HOURS, text(":"), SIXTY])]),
])  # fmt: skip
UUID = chain(
    [part for n in (8, 4, 4, 4, 12) for part in (text("-"), Repetition(HEXADECIMAL, n, n))][1:]
)
FORMATS = {"date": DATE, "time": TIME, "date-time": chain([DATE, text("T"), TIME])} | {
    f"uuid{version}": UUID for version in ("", *range(1, 6))
}
CHARACTER = Reference("character")
PRIMITIVES: Rules = {
    "space": optional(text(" ")),
    "character": choice([
        characters([(0, 31), (127, 127), (ord('"'), ord('"')), (ord("\\"), ord("\\"))],
                   inverse=True),
        chain([text("\\"), choice([
            Words(list('"\\/bfnrt')), chain([text("u"), Repetition(HEXADECIMAL, 4, 4)]),
        ])]),
    ]),
    "string": quoted(Repetition(CHARACTER, 0, None)),
    "integer": chain([SIGNED, SPACE]),
    "number": chain([
        SIGNED, optional(chain([text("."), Repetition(DIGIT, 1, 16)])),
        optional(chain([_ranges("eeEE"), optional(_ranges("++--")), INTEGRAL])), SPACE,
    ]),
    "boolean": chain([Words(["true", "false"]), SPACE]),
    "null": chain([text("null"), SPACE]),
    "array": chain([
        text("["), SPACE, separated(Reference("value"), 0, None), text("]"), SPACE,
    ]),
    "object": chain([
        text("{"), SPACE,
        separated(members(Reference("string"), Reference("value")), 0, None), text("}"), SPACE,
    ]),
    "value": Choice([Reference(n) for n in
                     ("object", "array", "string", "number", "boolean", "null")]),
}  # fmt: skip
TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
