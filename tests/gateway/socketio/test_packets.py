"""Is whatever a client sends read as a request, and without an exception?"""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from socketio import packet

from gateway.socketio.encoder import PART, EncodedReply, Event
from gateway.socketio.frame_filter import filter_frame
from gateway.socketio.packets import (
    MAX_DIGITS,
    MAX_VALUES,
    REQUEST,
    Packet,
    attachment_count,
    read,
    refused,
)
from gateway.socketio.payloads import MAX_IDS, Rejected, token_ids

LIMIT = 1000


@pytest.mark.parametrize(
    ("encoded", "id", "name", "arguments"),
    [
        ('2["tokenize",{"prompt":"x"}]', None, "tokenize", [{"prompt": "x"}]),
        ('217["tokenize"]', 17, "tokenize", []),
        ('2/,1["a",null,2]', 1, "a", [None, 2]),
        ('2["connect"]', None, "connect", []),
        ('51-3["a",{"prompt":{"_placeholder":true,"num":0}}]', 3, "a", [{"prompt": b""}]),
        ('5999999999-["a",{"_placeholder":true,"num":5}]', None, "a", [b""]),
        ('2["a",{"_placeholder":true,"num":0}]', None, "a", [{"_placeholder": True, "num": 0}]),
    ],
)
def test_an_event_is_its_name_and_its_arguments(
    encoded: str, id: int | None, name: str, arguments: list[Any]
) -> None:
    assert read(encoded) == (id, name, arguments)
    made = Packet(encoded_packet=encoded)
    assert made.packet_type == packet.EVENT and made.attachment_count == 0
    assert (made.id, made.data) == (id, [REQUEST, name, *arguments])


@pytest.mark.parametrize(
    ("encoded", "id", "name", "why"),
    [
        ("", None, "", "begins with a digit"),
        ("x", None, "", "begins with a digit, not 'x'"),
        ("2", None, "", "not JSON"),
        ("27", 7, "", "not JSON"),
        ("2{}", None, "", "begins with its name, not an object of 0"),
        ("2[]", None, "", "not a list of 0"),
        ("2[5]", None, "", "not a list of 1"),
        ('2["tokenize",{"prompt":', None, "tokenize", "not JSON: Expecting value at character 22"),
        ('29["tokenize",' + "[" * 10_000, 9, "tokenize", "nested too deeply"),
        ("2" + "1" * 16 + '["tokenize"]', None, "tokenize", "up to 15 digits"),
        ('2/admin,4["tokenize"]', 4, "tokenize", "only namespace is /, not '/admin'"),
        ("31[]", None, "", "kind 3"),
        ('4{"message":"x"}', None, "", "kind 4"),
        ("61-2[]", None, "", "kind 6"),
        ("7", None, "", "kind 7"),
        ("٣[]", None, "", "begins with a digit"),
        (refused("too long", '23["tokenize",{"prom'), 3, "tokenize", "too long"),
        (refused("too long", ""), None, "", "too long"),
    ],
)
def test_what_cannot_be_read_says_why(encoded: str, id: int | None, name: str, why: str) -> None:
    found, event, (unread,) = read(encoded)
    assert (found, event) == (id, name)
    assert isinstance(unread, Rejected) and why in unread.why and len(unread.why) < 200


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_without_end_is_infinite_and_no_error(digits: int) -> None:
    _, _, (data,) = read('2["a",{"id":' + "9" * digits + "}]")
    assert data == {"id": float("inf")}


@pytest.mark.parametrize("auth", ["", "{}", "{", "[" * 5000, '{"token":"t"}'])
def test_a_connect_is_one_whatever_it_brings_along(auth: str) -> None:
    made = Packet(encoded_packet="0" + auth)
    assert made.packet_type == packet.CONNECT and made.namespace is None
    assert made.data in (None, {}, {"token": "t"})
    assert Packet(encoded_packet="0/admin,{}").namespace == "/admin"


def test_attachments_are_counted_and_never_waited_for() -> None:
    assert attachment_count('51-["a"]') == 1 and attachment_count('59999999999-["a"]') == 9999999999
    assert attachment_count('2["a"]') == attachment_count("") == 0


@pytest.mark.parametrize(
    ("frame", "fine"),
    [
        ('42["a"]', True), ("1", True), ("3", True), ("5", True), ("4", True), ("", False),
        ("0{}", False), ("2", False), ("6", False), ("7", False), ("x", False), ("²", False),
        ("4" + "x" * (LIMIT - 1), True), ("4" + "x" * LIMIT, False), ("4" + "é" * 600, False),
        ("4" + "\ud800" * 400, True),
    ],
)  # fmt: skip
def test_a_frame_goes_through_or_its_refusal_does(frame: str, fine: bool) -> None:
    seen = filter_frame(frame, LIMIT)
    if fine:
        assert seen == frame
    else:
        assert len(seen) < 500
        _, _, (unread,) = read(seen[1:])
        assert isinstance(unread, Rejected)


def test_of_a_frame_that_is_too_long_the_event_is_still_known() -> None:
    frame = f'42815["generate_text",{{"prompt":"{"x" * LIMIT}"}}]'
    id, name, (unread,) = read(filter_frame(frame, LIMIT)[1:])
    assert (id, name) == (815, "generate_text") and "1,000 bytes" in unread.why


def test_what_is_sent_is_as_python_socketio_writes_it() -> None:
    for kind, data in ((packet.EVENT, ["a", {"b": 1}]), (packet.ACK, [{"b": "é"}])):
        ours, theirs = Packet(kind, data, id=3), packet.Packet(kind, data, id=3)
        assert ours.encode() == theirs.encode()


@settings(max_examples=500, deadline=None)
@given(st.text() | st.text(alphabet='0123456789-/,[]{}":\0atbrue.\ud800'))
def test_any_text_is_read(encoded: str) -> None:
    seen = filter_frame(encoded, LIMIT)
    made = Packet(encoded_packet=seen[1:] or "?")
    if made.packet_type == packet.EVENT:
        assert made.data[0] == REQUEST and isinstance(made.data[1], str)
        assert made.id is None or type(made.id) is int
    json.dumps([each.why for each in made.data if isinstance(each, Rejected)]
               if isinstance(made.data, list) else "")  # fmt: skip


MANY = MAX_VALUES + 1


@pytest.mark.parametrize(
    "values",
    ["1," * MANY + "1", "[]," * MANY + "1", '"",' * MANY + "1", "{}," * MANY + '"', "[" * MANY],
    ids=["numbers", "lists", "texts", "objects", "nested"],
)
@pytest.mark.parametrize("event", ["tokenize", "detokenize"])
def test_an_event_of_very_many_values_is_refused_before_they_are_made(
    event: str, values: str
) -> None:
    id, name, (data,) = read(f'27["{event}",{{"x":[{values}]}}]')
    assert (id, name) == (7, event)
    if event == "detokenize" and values.startswith("1,"):
        assert len(data["x"]) == MANY + 1
    else:
        assert isinstance(data, Rejected) and "an event may have" in data.why


@pytest.mark.parametrize("text", ['[{"a": [1, 2], "b\\": "c,"}]\n', ",[", '\\"', "1" * 200])
def test_a_long_text_of_such_characters_is_one_value(text: str) -> None:
    long = text * 2 * MAX_VALUES
    assert read("2" + json.dumps(["tokenize", {"prompt": long}]))[2] == [{"prompt": long}]


def test_many_token_ids_and_a_very_long_number_do_not_go_together() -> None:
    """The long one would make each of them slow to read."""
    for digits, refused_ in ((100, False), (MAX_DIGITS, True), (5000, True)):
        ids = "1," * MANY + "9" * digits
        [data] = read(f'2["detokenize",{{"tokens":[{ids}]}}]')[2]
        assert isinstance(data, Rejected) == refused_
    [data] = read('2["detokenize",{"tokens":[' + "1," * 10 + "9" * 5000 + "]}]")[2]
    assert data["tokens"][-1] == float("inf")


def test_the_auth_data_of_a_connect_is_bounded_too() -> None:
    assert Packet(encoded_packet="0" + "[" + "[]," * MANY + "1]").data is None


def seconds(work: Callable[[], object]) -> float:
    """Of this process: others that run do not count."""
    took = []
    for _ in range(3):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def test_a_million_token_ids_are_read_about_as_fast_as_json_is() -> None:
    encoded = json.dumps(["detokenize", {"tokens": [id % 1000 for id in range(MAX_IDS)]}])

    plain = seconds(lambda: json.loads(encoded))
    ours = seconds(lambda: token_ids(read("2" + encoded)[2][0]))
    assert ours < 4 * plain, (ours, plain)


def test_a_long_reply_is_encoded_once_and_as_json_would() -> None:
    reply = {"success": True, "tokens": [*range(2 * PART + 1)], "none": [], "text": 'é"', "x": 1.5}
    encoded = EncodedReply(reply)
    assert len(list(encoded.encode())) == 3
    assert Event("tokenized", encoded).packet == Event("tokenized", reply).packet
    ours = Packet(packet.ACK, [encoded], id=3)
    assert ours.encode() == packet.Packet(packet.ACK, [reply], id=3).encode()
    assert Event("x", EncodedReply(a=1)).body == '{"a":1}'
    with pytest.raises(ValueError):
        list(EncodedReply(vector=[float("nan")]).encode())


def test_an_acknowledgement_of_very_many_numbers_is_as_fast_as_json() -> None:
    reply = {"tokens": [*range(300_000)]}
    plain = seconds(lambda: json.dumps(reply))
    assert seconds(lambda: Packet(packet.ACK, [reply], id=3).encode()) < 4 * plain
