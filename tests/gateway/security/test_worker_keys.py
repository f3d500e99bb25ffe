"""An entry is a key together with its secret, and ends when its line is gone."""

from pathlib import Path

import pytest

from gateway.security.worker_keys import WorkerKeys, digest, list_file


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = list_file(tmp_path)
    path.parent.mkdir()
    path.touch(mode=0o600)
    path.write_text(f"rack7 key7 {digest('s7')}\nrack8 key8 {digest('s8')}\n")
    return tmp_path


def test_a_secret_belongs_to_its_key(home: Path) -> None:
    keys = WorkerKeys(home)
    assert keys.entry_of("key7", "s7").startswith("rack7 key7 ")
    for key, secret in (("key7", "s8"), ("key8", "s7"), ("", "s7"), ("key7", ""), ("é", "\ud800")):
        assert keys.entry_of(key, secret) == ""


def test_an_entry_ends_with_its_line_and_the_others_stay(home: Path) -> None:
    keys = WorkerKeys(home)
    seven, eight = keys.entry_of("key7", "s7"), keys.entry_of("key8", "s8")
    assert keys.has_entry(seven) and keys.has_entry(eight)
    list_file(home).write_text(f"rack8 key8 {digest('s8')}\n")
    assert not keys.has_entry(seven) and keys.has_entry(eight)
    list_file(home).write_text(f"rack8 key8 {digest('another')}\n")
    assert not keys.has_entry(eight), "it has a new secret"


def test_a_list_that_others_can_write_has_no_entries(home: Path) -> None:
    keys = WorkerKeys(home)
    seven = keys.entry_of("key7", "s7")
    assert keys.has_entry(seven)
    list_file(home).chmod(0o666)
    assert not keys.has_entry(seven)
    list_file(home).unlink()
    assert not keys.has_entry(seven)
