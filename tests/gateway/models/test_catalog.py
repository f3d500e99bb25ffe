"""Which bindings and models are there, and is nothing outside their folders reached?"""

import asyncio
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import ModelNotFound
from gateway.models.catalog import Catalog
from gateway.validation import shown
from tests.support.zoos import digest, settle

FIELDS = {
    "title", "icon", "license", "owner", "owner_link", "description", "isInstalled", "path",
    "filesize", "model_type",
}  # fmt: skip


class Folders:
    def __init__(self, tmp_path: Path) -> None:
        self.bindings, self.models = tmp_path / "bindings", tmp_path / "models"
        self.bindings.mkdir()
        self.catalog = Catalog(self.bindings, self.models)

    def binding(self, name: str, card: str = "name: A", models: str | None = None) -> Path:
        folder = self.bindings / name
        folder.mkdir(exist_ok=True)
        (folder / "binding_card.yaml").write_text(card)
        if models is not None:
            (folder / "models.yaml").write_text(models)
        return folder

    def model(self, binding: str, name: str, content: bytes = b"GGUF") -> Path:
        (self.models / binding).mkdir(parents=True, exist_ok=True)
        (self.models / binding / name).write_bytes(content)
        return self.models / binding / name

    def find(self, binding: str, name: str) -> Path | None:
        return asyncio.run(self.catalog.find_model(binding, name))

    def refusal(self, binding: str, name: str) -> str:
        with pytest.raises(ModelNotFound) as caught:
            self.find(binding, name)
        assert "\n" not in str(caught.value) and str(self.models) not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_a_folder_with_a_card_is_a_binding(folders: Folders) -> None:
    folders.binding(
        "b", "name: B\nversion: 1.0\nlink: https://b", "- filename: x\n  date: 2023-08-01"
    )
    folders.binding("a", models="not: a list")
    folders.binding("c", models="- [unclosed")
    folders.binding("d", card="a: &a [1]\nb: *a", models="- filename: y")
    folders.binding(".hidden")
    (folders.bindings / "cardless").mkdir()
    (folders.bindings / "__pycache__").mkdir()
    (folders.bindings / "__init__.py").touch()
    listed = asyncio.run(folders.catalog.bindings())
    assert listed == [
        {"name": "a", "card": {"name": "A"}, "models": []},
        {
            "name": "b",
            "card": {"name": "B", "version": 1.0, "link": "https://b"},
            "models": [{"filename": "x", "date": "2023-08-01"}],
        },
        {"name": "c", "card": {"name": "A"}, "models": []},
        {"name": "d", "card": {}, "models": [{"filename": "y"}]},
    ]
    assert folders.catalog.binding_names() == ["a", "b", "c", "d"]
    json.dumps(listed, allow_nan=False)


def test_what_is_wrong_with_a_card_is_said_once(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    folders.binding("a", card="name: [", models="- [")
    os.mkfifo(folders.binding("b") / "models.yaml")
    folders.binding("c", card="name: " + "x" * 70_000, models="x" * 300_000)
    for _ in range(3):
        asyncio.run(folders.catalog.bindings())
    assert len(caplog.records) == 5, caplog.text


def test_models_have_every_field_and_the_contract_s_defaults(folders: Folders) -> None:
    folders.binding(
        "a",
        models="""
- filename: full.gguf
  server: https://example.org/models/
  icon: https://i
  license: MIT
  owner: me
  owner_link: https://me
  description: Good.
  filesize: '17'
  model_type: gguf
- filename: bare.gguf
- {filename: gpt, model_type: API}
- {filename: full.gguf, description: twice}
- {filename: odd, filesize: .nan, license: [x], owner: 2023-08-01, description: 7}
- {name: newer.gguf, server: https://example.org}
- {description: nameless}
- just text
""",
    )
    folders.model("a", "bare.gguf", b"12345")
    folders.model("a", "own.gguf", b"123")
    for lying_about in ("notes.txt", "full.gguf.part", "README.md", ".hidden.gguf", "x.sha256"):
        folders.model("a", lying_about)
    listed = asyncio.run(folders.catalog.models("a"))
    assert all(set(model) == FIELDS for model in listed)
    by_title = {model["title"]: model for model in listed}
    assert list(by_title) == ["full.gguf", "bare.gguf", "gpt", "odd", "newer.gguf", "own.gguf"]
    assert by_title["full.gguf"] == {
        "title": "full.gguf", "icon": "https://i", "license": "MIT", "owner": "me",
        "owner_link": "https://me", "description": "Good.", "isInstalled": False,
        "path": "https://example.org/models/full.gguf", "filesize": 17, "model_type": "gguf",
    }  # fmt: skip
    assert by_title["own.gguf"] == {
        "title": "own.gguf", "icon": "/images/default_model.png", "license": "unknown",
        "owner": "unknown", "owner_link": "https://github.com/ParisNeo", "description": "",
        "isInstalled": True, "path": "own.gguf", "filesize": 3, "model_type": "",
    }  # fmt: skip
    assert by_title["bare.gguf"]["isInstalled"] and by_title["bare.gguf"]["filesize"] == 5
    assert by_title["gpt"]["isInstalled"] and by_title["gpt"]["model_type"] == "API"
    assert by_title["odd"]["filesize"] == 0 and by_title["odd"]["license"] == "unknown"
    assert by_title["odd"]["owner"] == "2023-08-01" and by_title["odd"]["description"] == "7"
    assert by_title["newer.gguf"]["path"] == "https://example.org/newer.gguf"
    json.dumps(listed, allow_nan=False)


def test_models_of_other_machines_are_listed_and_can_be_selected(folders: Folders) -> None:
    folders.binding("a", models="- {filename: named.gguf, license: MIT}\n- {filename: nowhere}")
    folders.model("a", "here.gguf", b"12345")
    there = {name: (7, ["rack", "far"]) for name in ("here.gguf", "named.gguf", "there.gguf")}
    catalog = Catalog(folders.bindings, folders.models, elsewhere={"a": there}.__getitem__)
    models = {model["title"]: model for model in asyncio.run(catalog.models("a"))}
    assert list(models) == ["named.gguf", "nowhere", "here.gguf", "there.gguf"]
    assert models["here.gguf"].keys() == FIELDS and models["here.gguf"]["filesize"] == 5
    assert models["nowhere"].keys() == FIELDS and not models["nowhere"]["isInstalled"]
    for name in ("named.gguf", "there.gguf"):
        assert models[name].keys() == FIELDS | {"on"}
        assert models[name]["on"] == ["rack", "far"] and models[name]["filesize"] == 7
        assert models[name]["isInstalled"]
        asyncio.run(catalog.check_model("a", name))
        with pytest.raises(ModelNotFound):
            asyncio.run(catalog.find_model("a", name))
    assert models["named.gguf"]["license"] == "MIT"
    asyncio.run(catalog.check_model("a", "here.gguf"))
    with pytest.raises(ModelNotFound, match="not installed"):
        asyncio.run(catalog.check_model("a", "nowhere"))
    with pytest.raises(ModelNotFound, match="no model named"):
        asyncio.run(catalog.check_model("a", "other"))


def test_a_card_says_which_files_are_models(folders: Folders) -> None:
    folders.binding("a", card="extensions: ['.Gguf']")
    folders.binding("b", card="extensions: []")
    for binding in ("a", "b"):
        for name in ("x.gguf", "X.GGUF", "x.bin"):
            folders.model(binding, name)
    titles = [model["title"] for model in asyncio.run(folders.catalog.models("a"))]
    assert titles == ["X.GGUF", "x.gguf"]
    assert asyncio.run(folders.catalog.models("b")) == []


def test_a_model_is_found_where_it_lies_and_by_its_name_only(folders: Folders) -> None:
    shipped = folders.binding(
        "a", models="- filename: gone.gguf\n- {filename: x/gpt, model_type: api}"
    )
    (shipped / "models").mkdir()
    (shipped / "models" / "shipped.gguf").write_bytes(b"GGUF")
    (shipped / "models" / "both.gguf").write_bytes(b"GGUF")
    own = folders.model("a", "own.gguf")
    both = folders.model("a", "both.gguf")
    (own.parent / "linked.gguf").symlink_to("own.gguf")
    assert folders.find("a", "own.gguf") == own
    assert folders.find("a", "linked.gguf") == own
    assert folders.find("a", "both.gguf") == both
    assert folders.find("a", "shipped.gguf") == shipped / "models" / "shipped.gguf"
    assert folders.find("a", "x/gpt") is None
    assert "not installed" in folders.refusal("a", "gone.gguf")
    assert "no binding" in folders.refusal("../a", "own.gguf")


def test_what_is_no_file_is_told_by_its_kind(folders: Folders) -> None:
    folders.binding("a", models="- filename: folder.gguf")
    folders.model("a", "file.gguf")
    (folders.models / "a" / "folder.gguf").mkdir()
    os.mkfifo(folders.models / "a" / "fifo.gguf")
    assert (
        folders.refusal("a", "folder.gguf") == "the model 'folder.gguf' is a directory, not a file"
    )
    assert "a FIFO" in folders.refusal("a", "fifo.gguf")
    listed = {m["title"]: m["isInstalled"] for m in asyncio.run(folders.catalog.models("a"))}
    assert listed == {"folder.gguf": False, "file.gguf": True}


def test_what_does_not_exist_and_what_is_outside_are_told_the_same(
    folders: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders.binding("a")
    folders.model("a", "own.gguf")
    (tmp_path / "outside.gguf").write_bytes(b"GGUF")
    (folders.models / "a" / "out.gguf").symlink_to(tmp_path / "outside.gguf")
    (folders.models / "a" / "dead.gguf").symlink_to("nowhere.gguf")
    (folders.models / "a" / "loop.gguf").symlink_to("loop.gguf")
    expected = folders.refusal("a", "nothing.gguf").replace("'nothing.gguf'", "NAME")
    for name in (
        "out.gguf", "dead.gguf", "loop.gguf", "../../outside.gguf", str(tmp_path / "outside.gguf"),
        "./own.gguf", "own.gguf/", "own.gguf\0", "OWN.GGUF", "own.gguf.", "..", ".", "", "a\\b",
        "%2e%2e/outside.gguf", "x" * 100_000,
    ):  # fmt: skip
        assert folders.refusal("a", name).replace(shown(name), "NAME") == expected, name
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records) == 3


def test_a_whole_folder_of_models_may_be_a_link(folders: Folders, tmp_path: Path) -> None:
    folders.binding("a")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "big.gguf").write_bytes(b"GGUF")
    folders.models.mkdir()
    (folders.models / "a").symlink_to(tmp_path / "disk")
    assert folders.find("a", "big.gguf") == tmp_path / "disk" / "big.gguf"


def test_changes_are_seen_and_nothing_is_written(folders: Folders, tmp_path: Path) -> None:
    folders.binding("a", models="- filename: x")
    settle(tmp_path)
    before = digest(tmp_path)

    def titles() -> list[str]:
        return [model["title"] for model in asyncio.run(folders.catalog.models("a"))]

    assert titles() == titles() == ["x"]
    assert digest(tmp_path) == before
    folders.binding("a", models="- filename: y")
    assert titles() == ["y"]
    folders.model("a", "z")
    assert titles() == ["y", "z"]
    folders.binding("b")
    assert folders.catalog.binding_names() == ["a", "b"]
    assert len(asyncio.run(folders.catalog.bindings())) == 2
    (folders.bindings / "b" / "binding_card.yaml").unlink()
    assert folders.catalog.binding_names() == ["a"]


def test_one_on_request_is_there_only_where_the_configuration_names_it(folders: Folders) -> None:
    folders.binding("a")
    (folders.binding("b") / "on_request").touch()
    assert folders.catalog.binding_names() == ["a"]
    assert folders.refusal("b", "x") == "there is no binding named 'b'"
    assert Catalog(folders.bindings, folders.models, {"b": {}}).binding_names() == ["a", "b"]


def test_bindings_that_lead_out_are_none(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (folders.bindings / "linked").symlink_to(Folders(tmp_path / "other").binding("real"))
    assert folders.catalog.binding_names() == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "gone", tmp_path / "models")
    assert catalog.binding_names() == []
    with pytest.raises(ModelNotFound):
        asyncio.run(catalog.bindings())


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text() | st.lists(st.sampled_from(["..", ".", "", "own.gguf", "a", "\0"])).map("/".join))
def test_no_name_but_the_listed_one_finds_anything(tmp_path: Path, name: str) -> None:
    (tmp_path / "run").mkdir(exist_ok=True)
    folder = tmp_path / "run"
    if not (folder / "bindings").exists():
        Folders(folder).binding("a")
    catalog = Catalog(folder / "bindings", folder / "models")
    (folder / "models" / "a").mkdir(parents=True, exist_ok=True)
    (folder / "models" / "a" / "own.gguf").touch()
    try:
        asyncio.run(catalog.find_model("a", name))
    except ModelNotFound:
        assert name != "own.gguf"
    else:
        assert name == "own.gguf"
