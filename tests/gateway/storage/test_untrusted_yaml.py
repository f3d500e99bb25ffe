"""Can a YAML file that somebody else wrote hurt the one who reads it?"""

import json
import os
import resource
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.storage.untrusted_yaml import MAX_BYTES, MAX_DEPTH, Unreadable, load, parse

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{here}: &{here} [{','.join(['*' + before] * 9)}]"
    for before, here in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "aliases"),
        ("a: &x {b: c}\nd: {<<: *x}", "aliases"),
        ("a: &a [*a]", "aliases"),
        ("[" * 100_000, "deeper"),
        ("{a: " * 50_000, "deeper"),
        ("- " * 100_000, "deeper"),
        ("? " * 100_000, "deeper"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "deeper"),
        ("a: [1", "line"),
        ("a: !!python/object/apply:os.system [exit]", "line"),
        ("a: !!python/name:os.system x", "line"),
        ("a: !unknown x", "line"),
        ("a: 1\n---\nb: 2", "."),
        ("a: " + "9" * 5000, "plain data"),
        ("a: !!int abc", "plain data"),
        ("a: !!timestamp 2023-99-99", "plain data"),
        ("[1]: 2", "."),
        ("{[a]: b}", "."),
        ("a: \x00", "."),
        ("\ttabs: here", "."),
    ],
)
def test_what_is_no_plain_data_is_refused_in_one_line(text: str, reason: str) -> None:
    began, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Unreadable, match=reason) as caught:
        parse(text)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)
    assert time.monotonic() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000


def test_what_json_cannot_carry_is_left_out_or_becomes_text() -> None:
    text = """
    date: 2023-08-01
    moment: !!timestamp 2023-08-01 10:00:00
    nan: .nan
    infinite: -.inf
    bytes: !!binary aGVsbG8=
    set: !!set {a, b}
    long: 99999999999999999999999
    list: [1, .nan, !!binary aGVsbG8=, yes, null, 2.5]
    1: one
    1.5: x
    false: y
    null: z
    """
    cleaned = parse(text)
    assert cleaned == {
        "date": "2023-08-01",
        "moment": "2023-08-01T10:00:00",
        "list": [1, True, None, 2.5],
        "1": "one",
        "1.5": "x",
        "false": "y",
        "null": "z",
    }
    json.dumps(cleaned, allow_nan=False)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xef\xbb\xbfname: Zo\xc3\xab", "Zoë"),
        (b"name: Zo\xeb", "Zoë"),
        (b"name: a\r\nauthor: b\r\n", "a"),
        (b"---\nname: a\n", "a"),
        (b"name: a\nname: b\n", "b"),
    ],
)
def test_harmless_oddities_of_old_zoos_are_read(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    assert load(tmp_path / "config.yaml")["name"] == name


def test_only_a_regular_file_up_to_the_limit_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "long").write_text("a: " + "b" * MAX_BYTES)
    (tmp_path / "most").write_text("a: " + "b" * (MAX_BYTES - 3))
    for name in ("fifo", "folder", "zero", "long"):
        with pytest.raises(Unreadable):
            load(tmp_path / name)
    assert len(load(tmp_path / "most")["a"]) == MAX_BYTES - 3
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet="[]{}:,-&*!?|>'\"% \n#ab1.~<=\\"))
def test_any_text_is_plain_data_or_refused(text: str) -> None:
    with suppress(Unreadable):
        json.dumps(parse(text), allow_nan=False).encode()
