"""Grammars and schemas: what they match, and what no text of theirs may cost anybody."""

import gc
import json
import random
import time
from collections.abc import Callable, Generator, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bindings.llama_cpp import LlamaCpp, gbnf, json_schema
from bindings.llama_cpp.grammar import GrammarError, Rules
from bindings.llama_cpp.grammar_matcher import SAVED_STEPS, Matcher, TooExpensive
from bindings.llama_cpp.grammar_program import compile_rules
from bindings.llama_cpp.native import address, api, sampler_accept, sampler_apply, sampler_free
from bindings.llama_cpp.sampler import Candidates
from bindings.llama_cpp.token_index import GrammarState, TokenIndex
from protocol.errors import ErrorCode
from worker.binding import BadRequest, BindingError, Piece
from worker.unary_requests import failure

from .driving import STORY, alone, request, said, together

GAP = 1.0
"""Seconds that a bystander may wait for a token because of somebody else's grammar."""

SENSIBLE = {
    "type": "object",
    "properties": {
        f"field {n}": {"type": "string", "maxLength": 2000}
        if n % 2
        else {"type": "array", "items": {"type": "string", "maxLength": 2000}, "maxItems": 500}
        for n in range(200)
    },
}


def of_schema(schema: object) -> str:
    return json.dumps(schema)


def matcher(rules: Rules) -> Matcher:
    return Matcher(compile_rules(rules))


def matches(rules: Rules, text: str) -> bool:
    found = matcher(rules)
    for character in text:
        if not found.allows(character.encode()):
            return False
        found.accept(character.encode())
    return found.position.complete


# What is matched.


@pytest.mark.parametrize(
    ("grammar", "fine", "wrong"),
    [
        ('root ::= "yes" | "no"', ["yes", "no"], ["ye", "yesno", ""]),
        ('root ::= [a-c]{2,3} " "?', ["ab", "abc "], ["a", "abcd", "ab  "]),
        ("root ::= [^a-z]+", ["A É", "漢"], ["a", "Aa"]),
        ('root ::= "(" root ")" | ""', ["", "(())"], ["(()", ")"]),
        ('root ::= ("a"? "b"?){2,5} "c"', ["c", "ababc"], ["abababababac"]),
        ('root ::= x*  # a comment\nx ::= "\\u00e9" |\n "\\x41\\n"', ["", "éA\n"], ["A"]),
        ("root ::= [a-]. [\\]^]{1,}", ["-x]^", "aé^"], ["bx]"]),
        ('root ::= "a"{2} {2}', ["aaaa"], ["aa", "aaa"]),
    ],
)
def test_gbnf_means_what_it_says(grammar: str, fine: list[str], wrong: list[str]) -> None:
    rules = gbnf.read(grammar)
    assert [text for text in fine if not matches(rules, text)] == []
    assert [text for text in wrong if matches(rules, text)] == []


DATE_TIME = '"2024-02-29T23:59:59.123+01:00"'


@pytest.mark.parametrize(
    ("schema", "fine", "wrong"),
    [
        ({"type": "string", "maxLength": 3}, ['"abc"', '"\\n\\u00e9"'], ['"abcd"', '"\n"']),
        ({"type": "string", "minLength": 2}, ['"ab"', '"abc"'], ['"a"']),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3},
         ["[1,-2]", "[1, 2, 30]"], ["[1]", "[1,2,3,4]", "[01,2]"]),
        ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
        ({"items": [{"const": "a"}, {"type": "null"}]}, ['["a",null]'], ['["a"]']),
        ({"prefixItems": [{"type": "null"}], "items": False}, ["[null]"], ["[]", "[null,1]"]),
        ({"enum": ["a", 1, None, "é\""]}, ['"a"', "1", "null", '"é\\""'], ["a"]),
        ({"properties": {"a": {}, "b": {"type": "boolean"}}, "required": ["b"]},
         ['{"b":true}', '{"b": false, "a": [1.5e3, {}]}'], ['{"a":1}', '{"b":1}', "{}"]),
        ({"properties": {"a": {"type": "null"}, "b": {"type": "null"}}},
         ["{}", '{"b":null}', '{"a":null,"b":null}'], ['{"b":null,"a":null}']),
        ({"additionalProperties": {"type": "integer"}}, ['{"x":1,"y":2}'], ['{"x":"y"}']),
        ({"allOf": [{"$ref": "#/$defs/a"}, {"anyOf": [{"properties": {"b": {}}}]}],
          "$defs": {"a": {"properties": {"a": {}}}}}, ['{"a":1}', '{"a":1,"b":2}'], ["{}"]),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}}}},
         ['{"next":{"next":{}}}'], ['{"next":1}']),
        ({"type": ["string", "null"], "pattern": "^(ab|\\d{2})+[^x]?$"},
         ["null", '"ab12é"'], ['"1"', '"abx"']),
        ({"type": "string", "pattern": '^["a]\\.\\w*$'}, ['"\\".b"', '"a._9"'], ['"".b"']),
        ({"format": "date-time"}, [DATE_TIME], ['"2024-13-01T00:00:00Z"']),
        ({"format": "uuid"}, ['"01234567-89ab-cdef-0123-456789abcdef"'], ['"0123"']),
        ({}, ["{}", '{"a":[true,false,null]}'], ["[]"]),
    ],
)  # fmt: skip
def test_a_schema_matches_its_json(schema: Any, fine: list[str], wrong: list[str]) -> None:
    rules = json_schema.read(of_schema(schema))
    assert [text for text in fine if not matches(rules, text)] == []
    assert [text for text in wrong if matches(rules, text)] == []


def test_a_sensible_large_schema_is_compiled_at_once_and_matched() -> None:
    before = time.monotonic()
    rules = json_schema.read(of_schema(SENSIBLE))
    value = {"field 0": ["é"] * 500, "field 1": "x" * 2000, "field 199": "end"}
    assert matches(rules, json.dumps(value, ensure_ascii=False))
    assert not matches(rules, json.dumps({"field 1": "x" * 2001}))
    assert not matches(rules, json.dumps({"field 0": ["x"] * 501}))
    assert time.monotonic() - before < 5


def random_grammar(dice: random.Random) -> str:
    """One that llama.cpp can bear, of three rules."""
    texts = ['"a"', '"he"', '" "', '"the "', "[a-z]", "[^a-m]", "[ -~]", '"é"', "[à-ü]", '"."']

    def part(depth: int) -> str:
        match dice.randrange(8):
            case 0 if depth < 4:
                return f"{part(depth + 1)} {part(depth + 1)}"
            case 1 | 2 if depth < 4:
                return f"({part(depth + 1)} | {part(depth + 1)}{dice.choice(['', ' |'])})"
            case 3 | 4 if depth < 4:
                times = dice.choice(["*", "+", "?", "{2}", "{0,3}", "{1,4}", "{2,}"])
                return f"({part(depth + 1)}){times}"
            case 5:
                return dice.choice(["x", "y"])
        return dice.choice(texts)

    return "\n".join(f"{name} ::= {part(0)}" for name in ("root", "x", "y"))


def test_the_allowed_tokens_are_those_of_llama_cpp(pebble: LlamaCpp) -> None:
    """For grammars that do it no harm. It takes some invalid UTF-8, which starts or goes on
    with the bytes from E0 on, for characters; such tokens are left out.
    """
    assert pebble._model
    vocabulary = pebble._model.vocabulary
    index = TokenIndex(vocabulary.pieces, vocabulary.ends)
    texts = [t for t, p in enumerate(vocabulary.pieces) if p and _is_text(p)]
    candidates = Candidates(vocabulary.size)
    compared = 0
    for seed in range(150):
        dice = random.Random(seed)
        source = random_grammar(dice)
        try:
            grammar = GrammarState(matcher(gbnf.read(source)), index)
        except GrammarError as error:
            assert "left-recursive" in str(error)
            continue
        sampler = address(
            api.llama_sampler_init_grammar(vocabulary.address, source.encode(), b"root")
        )
        for _ in range(5):
            candidates.fill(np.zeros(vocabulary.size, np.float32))
            sampler_apply(sampler, candidates.address)
            theirs = {t for t in texts if candidates._logits[t] > -np.inf}
            ours = theirs & set(grammar.allowed((), None).tolist())
            assert ours == theirs == {t for t in texts if grammar.allows(t)}, source
            compared += 1
            if not ours:
                break
            token = dice.choice(sorted(ours))
            grammar.accept(token)
            sampler_accept(sampler, token)
        sampler_free(sampler)
    assert compared > 200


def _is_text(piece: bytes) -> bool:
    try:
        return bool(piece.decode())
    except UnicodeDecodeError:
        return False


# Limits.

SPLIT_IN_TWO = "\n".join(f"r{n} ::= r{n + 1} | r{n + 1}" for n in range(60))
HIDDEN = 'root ::= x root "a" | "b"\nx ::= y\ny ::= ""'
TWICE = {f"a_{n}": {"anyOf": [{"$ref": f"#/$defs/a_{n + 1}"}] * 2} for n in range(40)}
REFUSED: dict[str, tuple[str, str]] = {
    "open parentheses": ("root ::= " + "(" * 49_000, "nested 100 deep"),
    "nested parentheses": ("root ::= " + "(" * 40_000 + '"a"' + ")" * 40_000, "nested 100 deep"),
    "quantified quantifiers": ('root ::= "a"' + "?" * 50_000, "nested 100 deep"),
    "left recursion": ('root ::= root "a"', "left-recursive"),
    "left recursion behind what is empty": (HIDDEN, "left-recursive"),
    "a long text": ('root ::= "' + "x" * 100_000 + '"', "30,000 elements"),
    "a repetition too often": ('root ::= "a"{0,100000000}', "100,000 times, not 100,000,000"),
    "a repetition backwards": ('root ::= "a"{5,2}', "from 5 to 2"),
    "empty repetitions": ('root ::= ("a"?){0,2000}', "100 times"),
    "a token": ("root ::= <[5]>", "not supported"),
    "no root": ('start ::= "x"', "root"),
    "a NUL": ('root ::= "x"\0', "NUL"),
}  # fmt: skip
REFUSED_SCHEMAS: dict[str, tuple[Any, str]] = {
    "maxLength": ({"type": "string", "maxLength": 10**8}, "maxLength: .* 100,000 times"),
    "minLength": ({"type": "string", "minLength": 10**8}, "minLength: .* 100,000 times"),
    "maxItems": ({"type": "array", "items": {}, "maxItems": 10**8}, "maxItems: .* 100,000"),
    "huge number": ({"type": "string", "maxLength": 1e300}, "maxLength: .* 100,000"),
    "pattern": ({"type": "string", "pattern": "^a{100000000}$"}, "pattern: .* 100,000"),
    "deep pattern": ({"pattern": "^" + "(" * 4000 + "a" + ")" * 4000 + "$"}, "nested 100 deep"),
    "long pattern": ({"pattern": "^" + "a" * 20_000 + "$"}, "10,000 characters"),
    "endless reference": ({"$ref": "#"}, "left-recursive"),
    "references repeated": (
        {"$defs": {"a": {"properties": {f"{n}": {} for n in range(1500)}}},
         "items": [{"allOf": [{"$ref": "#/$defs/a"}]}] * 1000}, "30,000 elements",
    ),
    "references in one allOf": (
        {"$defs": {"a": {"properties": {f"{n}": {} for n in range(1500)}}},
         "allOf": [{"$ref": "#/$defs/a"}] * 1000}, "30,000 elements",
    ),
}  # fmt: skip


def test_a_place_is_read_once_however_it_is_written() -> None:
    """Its name could be written in thousands of ways, each of which was read: for seconds."""
    ways = ["#/" + "".join(tildes) for tildes in product(("~", "~0"), repeat=9)]
    several = {"~" * 9: {"type": [1] * 20_000 + ["null"]}, "anyOf": [{"$ref": w} for w in ways]}
    rules = json_schema.read(of_schema(several))
    assert [name for name in rules if name.startswith("reference")] == ["reference-0"]


def source_of(case: str) -> dict[str, str]:
    if case in REFUSED:
        return {"grammar": REFUSED[case][0]}
    return {"json_schema": of_schema(REFUSED_SCHEMAS[case][0])}


@pytest.mark.parametrize("case", [*REFUSED, *REFUSED_SCHEMAS])
def test_what_is_over_a_limit_is_refused_with_the_limit(case: str) -> None:
    [(kind, source)] = source_of(case).items()
    _, sentence = REFUSED.get(case) or REFUSED_SCHEMAS[case]
    before = time.monotonic()
    with pytest.raises(GrammarError, match=sentence) as refusal:
        compile_rules(gbnf.read(source) if kind == "grammar" else json_schema.read(source))
    assert time.monotonic() - before < 2
    assert failure(1, refusal.value).code == ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    "source",
    ["[" * 50_000, '{"items":' * 5000 + "{}" + "}" * 5000, "{" + '"a":1,' * 9 + "}", "[]", "1",
     '{"maxLength":' + "9" * 5000 + "}", '{"type":"string","maxLength":NaN}', '{"type":{}}',
     '{"type":["martian"]}', '{"enum":[]}', '{"properties":[]}', '{"$ref":5}', '{"pattern":5}',
     '{"pattern":"^(?=a)$"}', '{"pattern":"^a{1,2,3}$"}', '{"pattern":"^[b-a]$"}'],
)  # fmt: skip
def test_what_is_no_schema_is_refused_with_a_sentence(source: str) -> None:
    with pytest.raises(GrammarError, match=r"grammar|schema"):
        compile_rules(json_schema.read(source))


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= [a-z] root "x" | [a-z] root "y" | "z"',
        "root ::= ([a-z ]{1,1000}){1,1000}",
        "root ::= (([a-z ]?){0,100}){0,100}",
        "root ::= " + "a? " * 9000 + '\na ::= [a-z] b\nb ::= "q"?',
    ],
)
def test_an_ambiguous_grammar_ends_at_the_bound_of_steps(grammar: str) -> None:
    """Whatever is ambiguous about it: each way would be another one for llama.cpp."""
    program = compile_rules(gbnf.read(grammar))
    before = time.monotonic()
    with pytest.raises(TooExpensive, match=f"{SAVED_STEPS:,} steps"):
        found = Matcher(program)
        for _ in range(100):
            found.accept(b"a" * 64)
    assert time.monotonic() - before < GAP


GBNF_PIECES = st.sampled_from(
    ["root", "x", "::=", " ", "\n", '"a"', "[a-z]", "[^", "]", "(", ")", "|", "*", "+", "?",
     "{2,3}", "{0,", "9", "}", '"', "\\", "\\x41", "\\u", "#", ".", "<", "é", "\0"],
)  # fmt: skip
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**9) | st.floats() | st.sampled_from(
        ["string", "object", "array", "#", "#/items", "#/$defs/a", "^a*$", "^(", "date", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "items", "properties", "$ref", "$defs", "a", "anyOf", "allOf", "enum", "const",
         "pattern", "format", "minLength", "maxLength", "minItems", "maxItems", "required",
         "additionalProperties", "prefixItems"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


def answered(read: Callable[[str], Rules], source: str) -> None:
    """Whatever it is, it is compiled or refused, in a bounded time, and matched or ended."""
    before = time.monotonic()
    try:
        found = matcher(read(source))
        for byte in b'{"a": aaa aaaa\xc3\xa9':
            if found.allows(bytes([byte])):
                found.accept(bytes([byte]))
    except BindingError as error:
        assert isinstance(error, GrammarError | TooExpensive)
    assert time.monotonic() - before < 2


@settings(max_examples=500, deadline=None)
@given(st.lists(GBNF_PIECES, max_size=60).map("".join) | st.text(max_size=100))
def test_any_text_is_a_grammar_or_refused(source: str) -> None:
    answered(gbnf.read, source)
    answered(gbnf.read, f"root ::= {source}")


@settings(max_examples=1000, deadline=None)
@given(JSON_VALUES)
def test_any_value_is_a_schema_or_refused(value: object) -> None:
    answered(json_schema.read, json.dumps(value))


# With the model.

EXPENSIVE = {
    "50 stars": {"grammar": "root ::= " + "[a-z ]* " * 50},
    "3,000 stars": {"grammar": "root ::= " + "[a-z ]* " * 3000},
    "an expensive second token": {"grammar": "root ::= [a-z ] " + "[a-z ]* " * 9000},
    "two ways for each letter": {"grammar": 'root ::= [a-z ] root "x" | [a-z ] root "y" | "z"'},
    "counted in counted": {"grammar": "root ::= ([a-z ]{1,1000}){1,1000}"},
    "30,000 elements": {"grammar": 'root ::= "' + "x" * 29_900 + '"'},
    "a large schema": {"json_schema": of_schema(SENSIBLE)},
    "3,000 properties": {
        "json_schema": of_schema({"properties": {f"p {n} x": {} for n in range(3000)}})
    },
    "5,000 values": {"json_schema": of_schema({"enum": [f"value {n}" for n in range(5000)]})},
    "split in two": {"grammar": SPLIT_IN_TWO + '\nr60 ::= "x"\nroot ::= r0'},
    "references in pairs": {
        "json_schema": of_schema({"$ref": "#/$defs/a_0", "$defs": {**TWICE, "a_40": {}}})
    },
    **{case: source_of(case) for case in (*REFUSED, *REFUSED_SCHEMAS)},
}


def endless(pebble: LlamaCpp) -> Generator[Piece, None, None]:
    """One answer after the other."""
    while True:
        yield from pebble.generate(request(pebble, STORY, 300, seed=1, ignore_eos=True))


def gap_beside(pebble: LlamaCpp, others: list[Iterator[Piece]]) -> tuple[float, list[Exception]]:
    """The bystander's largest gap while `others` run, and how those ended that failed."""
    gc.collect()
    gc.freeze()  # a worker does not have the objects of the tests before
    answers = endless(pebble)
    while not next(answers).tokens:
        pass
    last, largest, ended = time.monotonic(), 0.0, []
    while others:
        if next(answers).tokens:
            largest, last = max(largest, time.monotonic() - last), time.monotonic()
        for pieces in list(others):
            try:
                if next(pieces, None) is None:
                    others.remove(pieces)
            except BindingError as error:
                others.remove(pieces)
                ended.append(error)
    largest = max(largest, time.monotonic() - last)
    answers.close()
    gc.unfreeze()
    return largest, ended


@pytest.mark.parametrize("case", EXPENSIVE)
def test_nobody_waits_for_the_grammar_of_somebody_else(pebble: LlamaCpp, case: str) -> None:
    """Seven of them at once, beside one bystander."""
    sampling = EXPENSIVE[case]
    hostile = [
        pebble.generate(request(pebble, STORY, 40, seed=n, top_k=n % 2 * 50, **sampling))
        for n in range(7)
    ]
    gap, ended = gap_beside(pebble, hostile)
    assert gap < GAP
    if case in (*REFUSED, *REFUSED_SCHEMAS):
        assert len(ended) == 7 and all(isinstance(error, BadRequest) for error in ended)


def test_many_expensive_grammars_take_turns_with_the_others(
    pebble: LlamaCpp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step has no time for is sampled in the next ones, and says the same."""
    sampling = {"seed": 3, "grammar": "root ::= [a-z ]+", "ignore_eos": True}
    wanted = alone(pebble, request(pebble, STORY, 20, **sampling))
    monkeypatch.setattr("bindings.llama_cpp.decoder.GRAMMAR_SECONDS", 0.0)
    assert pebble.engine
    before = pebble.engine.passes
    assert (
        together(pebble, *(request(pebble, STORY, 20, **sampling) for _ in range(4)))
        == [wanted] * 4
    )
    assert pebble.engine.passes - before > 60  # one in a step, instead of all in each of 20


def test_a_request_that_is_cancelled_while_its_grammar_compiles_leaves_nothing(
    pebble: LlamaCpp,
) -> None:
    pieces = pebble.generate(request(pebble, STORY, 5, **EXPENSIVE["30,000 elements"]))
    assert next(pieces) == Piece()
    pieces.close()  # type: ignore[attr-defined]
    assert pebble.engine and pebble.engine.running == 0
    assert said(pebble, STORY, 5, grammar='root ::= "yes"') == "yes"


def test_a_large_schema_is_answered_in_json(pebble: LlamaCpp) -> None:
    answer = said(pebble, STORY, 60, seed=2, json_schema=of_schema(SENSIBLE))
    assert answer.startswith(('{"field', "{ ", "{}"))
