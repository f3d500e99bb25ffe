"""Encoding and decoding of messages; everything that is not a message is refused."""

from dataclasses import fields
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec, messages
from protocol.codec import decode, encode
from protocol.errors import ProtocolError
from protocol.messages import Cancel, Chunk, Chunks, Generate, Heartbeat, Hello, Message, Welcome
from protocol.sampling import Sampling

KINDS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]
ids = st.integers(0, 2**63 - 1)
texts = st.text(max_size=50)
ints = st.lists(ids, max_size=5)
settings_values = texts | ids | st.floats(allow_nan=False) | st.booleans()
samplings = st.builds(
    Sampling,
    temperature=st.floats(0, 100),
    top_k=st.integers(0, 1000),
    seed=st.integers(-1, 2**32 - 1),
    logit_bias=st.dictionaries(texts, st.floats(allow_nan=False), max_size=3),
    ignore_eos=st.booleans(),
)
OF_ANNOTATION = {
    "<class 'int'>": ids,
    "<class 'float'>": st.floats(allow_nan=False),
    "<class 'str'>": texts,
    "<class 'bool'>": st.booleans(),
    "list[int]": ints,
    "list[str]": st.lists(texts, max_size=5),
    "list[float]": st.lists(st.floats(allow_nan=False), max_size=5),
    "list[list[float]]": st.lists(st.lists(st.floats(allow_nan=False), max_size=4), max_size=4),
    "dict[str, int]": st.dictionaries(texts, ids, max_size=3),
    "dict[str, str]": st.dictionaries(texts, texts, max_size=3),
    "dict[str, str | int | float | bool]": st.dictionaries(texts, settings_values, max_size=3),
    "<class 'protocol.sampling.Sampling'>": samplings,
    "list[protocol.messages.Chunk]": st.lists(st.builds(Chunk, ids, texts, ints, ids), max_size=5),
}


def any_of(kind: type[Message]) -> st.SearchStrategy[Message]:
    annotations = codec.vocabulary()[kind.__name__]
    return st.builds(
        kind,
        **{
            field.name: OF_ANNOTATION[annotations[field.name].split(" = ")[0]]
            for field in fields(kind)  # type: ignore[arg-type]
        },
    )


every_message = st.one_of([any_of(kind) for kind in KINDS])
odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | texts
    | st.binary(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(texts, inside, max_size=4),
    max_leaves=10,
)


@given(every_message)
def test_a_message_comes_back_as_it_was_sent(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(frame)


@given(odd)
def test_odd_frames_are_refused(thing: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(msgpack.packb(thing))


@settings(max_examples=200)
@given(every_message, st.data())
def test_a_field_of_another_type_is_refused_or_equal(message: Message, data: st.DataObject) -> None:
    kind, body = msgpack.unpackb(encode(message))
    if not body:
        return
    name = data.draw(st.sampled_from(sorted(body)))
    body[name] = value = data.draw(odd)
    try:
        decoded = decode(msgpack.packb([kind, body]))
    except ProtocolError:
        return
    annotation = codec.vocabulary()[kind][name].split(" = ")[0]
    kept = getattr(decoded, name)
    if annotation in ("<class 'int'>", "<class 'str'>", "<class 'bool'>"):
        assert type(kept) is type(value)
        assert kept == value
    else:
        assert isinstance(kept, float | list | dict | Sampling)


@given(every_message, st.integers(0, 200))
def test_a_cut_frame_is_refused(message: Message, length: int) -> None:
    frame = encode(message)
    if length < len(frame):
        with pytest.raises(ProtocolError):
            decode(frame[:length])


@pytest.mark.parametrize(
    "thing",
    [
        ["Nonsense", {}],
        ["Cancel", {}],
        ["Cancel", {"id": True}],
        ["Cancel", {"id": 1.0}],
        ["Cancel", {"id": 1, "more": 2}],
        ["Cancel", [1]],
        ["Cancel", {"id": 1}, "more"],
        ["Message", {}],
        ["Chunks", {"chunks": [[1, "text", [1]]]}],
        ["Chunks", {"chunks": [[1, b"text", [1], 1]]}],
        ["Chunks", {"chunks": [[1, "text", [1, "2"], 1]]}],
        ["Generate", {"id": 1, "prompt": "", "sampling": {"top_k": "40"}}],
        [["Cancel"], {"id": 1}],
        {"Cancel": {"id": 1}},
    ],
)
def test_what_almost_fits_is_refused(thing: Any) -> None:
    with pytest.raises(ProtocolError):
        decode(msgpack.packb(thing))


def test_extension_types_are_refused() -> None:
    with pytest.raises(ProtocolError):
        decode(msgpack.packb(["Cancel", {"id": msgpack.ExtType(1, b"1")}]))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode(b"\x91" * 100_000 + b"\x01")


def test_an_announced_giant_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode(b"\xdd\xff\xff\xff\xff")


def test_a_refusal_quotes_little_of_a_large_frame() -> None:
    with pytest.raises(ProtocolError) as refused:
        decode(msgpack.packb(["Cancel", {"id": "x" * 10**6}]))
    assert len(str(refused.value)) < 300


def test_a_field_that_is_left_out_has_its_default() -> None:
    assert decode(msgpack.packb(["Generate", {"id": 1, "prompt": "x"}])) == Generate(1, "x")


def test_an_integer_is_taken_for_a_float() -> None:
    assert decode(msgpack.packb(["Welcome", {"heartbeat": 1, "epoch": 2}])) == Welcome(1.0, 2)


def test_a_tuple_of_ids_goes_as_a_list() -> None:
    sent = Chunks([Chunk(1, "a", (1, 2), 2)])  # type: ignore[arg-type]
    assert decode(encode(sent)) == Chunks([Chunk(1, "a", [1, 2], 2)])


def test_a_sampling_costs_nothing_when_it_is_the_default() -> None:
    assert len(encode(Generate(1, ""))) < 150


@pytest.mark.parametrize("message", [Cancel(2**63), Heartbeat(0, 0), Hello(1, "b", 2, 3)])
def test_small_messages_are_small(message: Message) -> None:
    assert len(encode(message)) < 100
