"""What clients send: lenient where real clients are sloppy, one sentence for all else."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.socketio.payloads import MAX_LENIENT, generate_text, payload, resume_auth, token_ids
from gateway.validation import MAX_ID, MAX_NAME, MAX_PREDICT, integer, number, shown, text

HUGE = json.loads("1e999")
NAN = json.loads("NaN")
LONG = "ÿ" * 2**20


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


NO_NUMBERS: list[Any] = [
    True, False, NAN, HUGE, -HUGE, 2**63, -(2**63), 10**5000, "2e999", "nan", "many", "", LONG,
    "9" * 10_000, b"1", bytearray(b"1"), [1], {"a": 1}, nested(10_000), "\ud800", "1\x00",
]  # fmt: skip
NO_TEXTS: list[Any] = [
    None, True, 0, 1.5, NAN, HUGE, 2**63, b"bytes", [], ["a"], {}, nested(10_000), "\ud800",
    "a\udfffb",
]  # fmt: skip


def complaint(about: str, act: Callable[[], Any]) -> str:
    """The one sentence that names the field and shows a few characters of what came."""
    with pytest.raises(BadRequest) as refused:
        act()
    sentence = str(refused.value)
    assert sentence.startswith(f"{about} ") or f" {about} " in sentence, sentence
    assert len(sentence) < 64 + 120 and "\n" not in sentence
    sentence.encode("ascii", errors="strict") if "…" not in sentence else sentence.encode()
    return sentence


PARAMETERS = ["temperature", "top_k", "top_p", "repeat_penalty", "repeat_last_n", "seed", "min_p",
              "mirostat", "mirostat_tau", "logprobs"]  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_that_is_no_number_in_its_range_is_refused(name: str) -> None:
    for value in NO_NUMBERS:
        data = {"prompt": "x", "parameters": {name: value}}
        complaint(name, lambda data=data: generate_text([data]))


@pytest.mark.parametrize("name", ["n_predicts", "personality"])
def test_a_field_that_is_no_whole_number_is_refused(name: str) -> None:
    for value in [*NO_NUMBERS, 1.5, "1.5", -2]:
        data = {"prompt": "x", name: value}
        complaint(name, lambda data=data: generate_text([data]))


def test_a_prompt_that_is_no_text_is_refused() -> None:
    for value in NO_TEXTS:
        complaint("prompt", lambda value=value: generate_text([{"prompt": value}]))
    complaint("prompt", lambda: generate_text([]))
    complaint("prompt", lambda: generate_text([None]))


def test_a_name_that_is_no_text_or_too_long_is_refused() -> None:
    for value in [*NO_TEXTS, LONG, "x" * (MAX_NAME + 1)]:
        complaint("path", lambda value=value: text({"path": value}, "path"))
    assert text({"path": "x" * MAX_NAME}, "path") == "x" * MAX_NAME


@pytest.mark.parametrize("value", [7, "x", True, [1], [[]], 1.5, b"bytes", nested(10_000)])
def test_a_payload_that_is_no_object_is_refused(value: Any) -> None:
    complaint("payload", lambda: payload([value]))
    if not isinstance(value, str):
        complaint("payload", lambda: generate_text([value]))


@pytest.mark.parametrize("value", [7, "x", True, [1], b"bytes"])
def test_parameters_that_are_no_object_are_refused(value: Any) -> None:
    complaint("parameters", lambda: generate_text([{"prompt": "x", "parameters": value}]))


@pytest.mark.parametrize(
    "value", [7, True, {"a": 1}, [7], [["x"]], ["x"] * 65, [LONG], b"x", ["\ud800"]]
)
def test_stop_strings_that_are_none_are_refused(value: Any) -> None:
    complaint("stop", lambda: generate_text([{"prompt": "x", "parameters": {"stop": value}}]))


@pytest.mark.parametrize(
    "value", [7, True, "abc", [1], {"a": 1}, {"1": NAN}, {"1": HUGE}, {"-1": 1}, {"1": "hot"},
              {"1": True}, {str(2**40): 1}, {"\ud800": 1}]
)  # fmt: skip
def test_a_logit_bias_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest) as refused:
        generate_text([{"prompt": "x", "parameters": {"logit_bias": value}}])
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "value",
    [None, 7, "1 2", {"a": 1}, [True], [1.5], [-1], [NAN], [[1]], ["x"], [2**63], [None, -2]],
)
def test_tokens_that_are_no_list_of_ids_are_refused(value: Any) -> None:
    complaint("tokens", lambda: token_ids({"tokens": value}))


def test_zero_tokens_are_refused_and_minus_one_leaves_it_to_the_server() -> None:
    complaint("n_predicts", lambda: generate_text([{"prompt": "x", "n_predicts": 0}]))
    complaint("n_predicts", lambda: generate_text([{"prompt": "x", "n_predicts": MAX_PREDICT + 1}]))
    for value in (-1, "-1", None):
        assert generate_text([{"prompt": "x", "n_predicts": value}]).n_predict is None


def test_what_real_clients_leave_out_or_add_is_no_matter() -> None:
    assert payload([]) == payload([None]) == payload([None, 1, 2]) == {}
    plain = generate_text([{"prompt": "x"}])
    assert (plain.personality, plain.n_predict, plain.sampling, plain.stop) == (-1, None, {}, ())
    for more in ({"parameters": None}, {"parameters": {}}, {"unknown": [1]}, {"n_predicts": None},
                 {"parameters": {"nonsense": nested(50)}},
                 {"parameters": {"temperature": None}}):  # fmt: skip
        assert generate_text([{"prompt": "x", **more}]) == plain
    assert generate_text([{"prompt": "x"}, "extra", 3]) == plain


def test_three_positional_arguments_are_an_object() -> None:
    asked = generate_text(["a prompt", 2, 30])
    assert (asked.prompt, asked.personality, asked.n_predict) == ("a prompt", 2, 30)
    assert generate_text(["a prompt"]) == generate_text([{"prompt": "a prompt"}])
    assert generate_text(["a prompt", "2", "30", "more"]) == asked


def test_numeric_strings_and_whole_floats_are_numbers() -> None:
    asked = generate_text([{
        "prompt": "x", "personality": "3", "n_predicts": "7",
        "parameters": {"temperature": "0.5", "top_k": "3", "seed": 4.0, "top_p": 1},
    }])  # fmt: skip
    assert (asked.personality, asked.n_predict) == (3, 7)
    assert asked.sampling == {"temperature": 0.5, "top_k": 3, "seed": 4, "top_p": 1.0}
    assert type(asked.sampling["seed"]) is int and type(asked.sampling["top_p"]) is float


def test_stop_is_a_text_or_a_list_and_an_empty_one_is_none() -> None:
    def stops(value: Any) -> tuple[str, ...]:
        return generate_text([{"prompt": "x", "parameters": {"stop": value}}]).stop

    assert stops("!@>") == ("!@>",)
    assert stops(["a", "", "b"]) == ("a", "b")
    assert stops(None) == stops([]) == stops("") == ()


def test_tokens_come_under_either_name() -> None:
    assert token_ids({"prompt": [1, 2]}) == token_ids({"tokens": [1, "2"]}) == [1, 2]
    assert token_ids({"prompt": "ignored", "tokens": []}) == []


@pytest.mark.parametrize("wrong", [True, 1.0, "1", None, -1, MAX_ID + 1, [], 10**400])
def test_of_very_many_tokens_all_must_be_whole_numbers(wrong: Any) -> None:
    many = [0, MAX_ID] * MAX_LENIENT
    assert token_ids({"tokens": many}) == many
    complaint("tokens", lambda: token_ids({"tokens": [*many, wrong]}))


def test_the_bounds_belong_to_the_range() -> None:
    assert integer({"x": 1}, "x", 0, 1, 3) == 1 and integer({"x": 3}, "x", 0, 1, 3) == 3
    assert number({"x": 0}, "x", 0, 0, 1) == 0 and number({"x": 1}, "x", 0, 0, 1) == 1
    assert integer({}, "x", 9, 1, 3) == 9 and number({"x": None}, "x", 9, 0, 1) == 9


@pytest.mark.parametrize(
    "value", [*NO_NUMBERS, *NO_TEXTS, LONG, "\x00\x1b[31m", "a\nb"], ids=lambda _: ""
)
def test_what_came_is_shown_in_64_printable_characters(value: Any) -> None:
    seen = shown(value)
    assert 0 < len(seen) <= 64 and seen.isprintable()


@pytest.mark.parametrize(
    "auth", [None, {}, True, "events", ["events"], {"session": ""}, {"events": None},
             {"events": False}, {"events": "true"}, {"events": 1}, {"events": [True]}]
)  # fmt: skip
def test_events_for_who_waits_are_for_clients_that_ask_for_them(auth: Any) -> None:
    assert not resume_auth(auth).events
    assert resume_auth({"events": True}).events and resume_auth({"events": True}).token == ""
