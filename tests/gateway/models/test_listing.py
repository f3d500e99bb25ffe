"""What clients get of a models.yaml and of local files: every field, within limits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.models.listing import MAX_FIELDS, MAX_MODELS, MAX_TEXT, flat, listed, named_models

FIELDS = {
    "title", "icon", "license", "owner", "owner_link", "description", "isInstalled", "path",
    "filesize", "model_type",
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=10,
)


def test_an_entry_without_a_name_is_none_and_name_stands_for_filename() -> None:
    content = [{"filename": "a.gguf"}, {"name": "b"}, {"license": "MIT"}, {"name": ""}, "c", None]
    assert [model["title"] for model in listed(named_models(content), {})] == ["a.gguf", "b"]


@pytest.mark.parametrize("content", [None, "text", 7, {}, {"filename": "a"}])
def test_what_is_no_list_has_no_models(content: Any) -> None:
    assert named_models(content) == []


def test_entries_come_first_then_local_files_by_name_each_once() -> None:
    entries = [{"filename": "z"}, {"filename": "a", "license": "MIT"}, {"filename": "z"}]
    models = listed(entries, {"m.gguf": 7, "a": 9, "b.gguf": 8})
    assert [model["title"] for model in models] == ["z", "a", "b.gguf", "m.gguf"]
    assert [model["isInstalled"] for model in models] == [False, True, True, True]
    assert [model["filesize"] for model in models] == [0, 9, 8, 7]
    assert models[1]["license"] == "MIT" and models[0]["license"] == "unknown"


@pytest.mark.parametrize(
    ("entry", "path"),
    [
        ({"filename": "m", "server": "https://host/models/"}, "https://host/models/m"),
        ({"filename": "m"}, "m"),
    ],
)
def test_the_path_is_where_it_can_be_had(entry: dict[str, Any], path: str) -> None:
    assert listed([entry], {})[0]["path"] == path


def test_a_model_behind_an_api_counts_as_installed() -> None:
    [model] = listed([{"filename": "m", "model_type": "API"}], {})
    assert model["isInstalled"] and model["model_type"] == "API"


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (7, 7), ("7", 7), ("4.2e3", 4200), (7.9, 7), (True, 0), (-1, 0), ("much", 0), (None, 0),
        ("9" * 50, 0), (float("nan"), 0), (2**63, 0), ([1], 0),
    ],
)  # fmt: skip
def test_a_size_is_a_number_of_bytes_or_not_there(value: Any, size: int) -> None:
    assert listed([{"filename": "m", "filesize": value}], {})[0]["filesize"] == size


@given(st.lists(JSON, max_size=5))
def test_whatever_the_file_says_each_model_has_every_field_of_its_kind(content: Any) -> None:
    for model in listed(named_models(content), {}):
        assert set(model) == FIELDS
        assert isinstance(model["isInstalled"], bool) and type(model["filesize"]) is int
        assert all(isinstance(model[name], str) for name in FIELDS - {"isInstalled", "filesize"})


def test_limits() -> None:
    entry = {str(n): "x" * (MAX_TEXT + 9) for n in range(MAX_FIELDS + 9)}
    kept = flat({**entry, "nested": {"a": 1}})
    assert len(kept) == MAX_FIELDS and all(len(value) == MAX_TEXT for value in kept.values())
    assert flat({"list": [1, [2], {"a": 3}, "x"]}) == {"list": [1, "x"]}
    assert len(named_models([{"filename": str(n)} for n in range(MAX_MODELS + 9)])) == MAX_MODELS
