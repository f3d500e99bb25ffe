"""Each listing event: success, failure and accepted payloads."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import ROOT, Home, client, home, run

ZOO = ROOT / "personalities"


async def ask(server: Home, event: str, *arguments: Any, reply: str) -> Any:
    """The reply event; the acknowledgement must be equal to it."""
    async with client(server) as connected:
        data = tuple(arguments) if arguments else None
        answer = await connected.sio.call(event, data)
        assert answer == await connected.reply(reply)
        assert [name for name, _ in await connected.settle()] == []
        return answer


@pytest.mark.parametrize("arguments", [(), (None,), ({},), ({"unknown": 1}, 2, "three")])
def test_bindings_are_listed_with_card_and_models(server: Home, arguments: Any) -> None:
    answer = run(ask(server, "list_available_bindings", *arguments, reply="bindings_list"))
    assert answer["success"] is True
    listed = {binding["name"]: binding for binding in answer["bindings"]}
    assert set(listed) == {"echo", "faulty", "single", "stubborn"}
    assert listed["single"]["card"]["author"] == "the tests"
    assert any("one" in json.dumps(model) for model in listed["single"]["models"])


def test_a_folder_without_a_card_is_skipped_and_broken_models_are_none(tmp_path: Path) -> None:
    bindings = tmp_path / "bindings"
    (bindings / "nocard").mkdir(parents=True)
    shutil.copytree(ROOT / "bindings" / "echo", bindings / "broken")
    (bindings / "broken" / "models.yaml").write_text("- [unclosed")
    shutil.copytree(ROOT / "bindings" / "echo", bindings / "modelless")
    (bindings / "modelless" / "models.yaml").unlink()
    with home(tmp_path / "home", bindings_path=str(bindings)) as server:
        server.gateway()
        answer = run(ask(server, "list_available_bindings", reply="bindings_list"))
    assert {b["name"]: b["models"] for b in answer["bindings"]} == {"broken": [], "modelless": []}


def test_personalities_are_listed_by_language_and_category(server: Home) -> None:
    answer = run(ask(server, "list_available_personalities", reply="personalities_list"))
    assert answer["success"] is True
    zoo = answer["personalities"]
    assert len(zoo) >= 2 and len({c for language in zoo.values() for c in language}) >= 3
    entries = [e for language in zoo.values() for c in language.values() for e in c]
    assert len(entries) >= 6
    for entry in entries:
        assert set(entry) >= {
            "folder", "name", "description", "author", "version", "has_scripts", "has_logo",
            "avatar",
        }  # fmt: skip


def test_an_avatar_is_served_where_its_entry_says(server: Home) -> None:
    answer = run(ask(server, "list_available_personalities", reply="personalities_list"))
    entries = [
        e
        for language in answer["personalities"].values()
        for category in language.values()
        for e in category
        if e["has_logo"]
    ]
    assert entries
    for entry in entries:
        assert entry["avatar"].startswith("/personalities/")
        status, _ = server.http_bytes(entry["avatar"])
        assert status == 200, entry
    for outside in ("/personalities/../state.json", "/personalities/%2e%2e/state.json"):
        assert server.http_bytes(outside)[0] == 404


def test_languages_categories_and_names(server: Home) -> None:
    languages = run(
        ask(
            server,
            "list_available_personalities_languages",
            reply="available_personalities_languages_list",
        )
    )
    expected = sorted(p.name for p in ZOO.iterdir() if p.is_dir())
    assert languages == {"success": True, "available_personalities_languages": expected}

    event, reply = (
        "list_available_personalities_categories",
        "available_personalities_categories_list",
    )
    union = run(ask(server, event, {}, reply=reply))
    everywhere = sorted({p.name for p in ZOO.glob("*/*") if p.is_dir()})
    assert union == {"success": True, "available_personalities_categories": everywhere}
    english = run(ask(server, event, {"language": "english"}, reply=reply))
    assert english["available_personalities_categories"] == sorted(
        p.name for p in (ZOO / "english").iterdir() if p.is_dir()
    )
    for wrong in ({"language": "klingon"}, {"language": 7}):
        answer = run(ask(server, event, wrong, reply=reply))
        assert answer["success"] is False and answer["error"]

    event = "list_available_personalities_names"
    reply = "list_available_personalities_names_list"
    category = english["available_personalities_categories"][0]
    names = run(ask(server, event, {"language": "english", "category": category}, reply=reply))
    assert names["list_available_personalities_names"] == sorted(
        p.name for p in (ZOO / "english" / category).iterdir() if p.is_dir()
    )
    for wrong in ({}, {"category": "nowhere"}, {"category": "../.."}, {"category": None}):
        answer = run(ask(server, event, wrong, reply=reply))
        assert answer["success"] is False and answer["error"]


def test_models_have_every_field_and_its_default(server: Home) -> None:
    async def scenario() -> Any:
        async with client(server) as connected:
            await connected.ask(
                "select_binding", {"binding_name": "single"}, reply="select_binding"
            )
            return await connected.ask("list_available_models", reply="available_models_list")

    answer = run(scenario())
    assert answer["success"] is True and answer["models"] == answer["available_models"]
    by_title = {model["title"]: model for model in answer["available_models"]}
    assert by_title["one"]["isInstalled"] is True
    assert {key: by_title["one"][key] for key in ("icon", "license", "owner", "owner_link")} == {
        "icon": "/images/default_model.png",
        "license": "unknown",
        "owner": "unknown",
        "owner_link": "https://github.com/ParisNeo",
    }
    assert by_title["one"]["filesize"] == 0 and by_title["one"]["description"] == ""
    assert by_title["absent.gguf"]["isInstalled"] is False
    assert by_title["absent.gguf"]["filesize"] == 17


def test_models_without_a_binding_are_one_failure_and_nothing_after(tmp_path: Path) -> None:
    with home(tmp_path) as server:
        server.gateway("--binding_name", "")
        answer = run(ask(server, "list_available_models", reply="available_models_list"))
        assert answer == {"success": False, "error": "No binding selected"}
        assert server.http("/health")[0] == 200
        assert server.http("/ready")[0] == 503


@pytest.mark.parametrize("levelled", [True, False])
def test_both_layouts_of_a_zoo_are_listed_right_and_left_untouched(
    tmp_path: Path, levelled: bool
) -> None:
    zoo = tmp_path / "zoo"
    base = zoo / "english" if levelled else zoo
    for path in ("Programming/teach me vue.js", "art/poet"):
        folder = base / path
        (folder / "assets").mkdir(parents=True)
        (folder / "config.yaml").write_text("personality_description: does things\n")
        (folder / "assets" / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (base / "art" / "broken").mkdir()
    (base / "art" / "broken" / "config.yaml").write_text("a: [1")
    before = _digest(zoo)
    with home(tmp_path / "home", personalities_path=str(zoo)) as server:
        server.gateway()
        answer = run(ask(server, "list_available_personalities", reply="personalities_list"))
    zoo_listed = answer["personalities"]
    assert list(zoo_listed) == ["english"]
    (vue,) = zoo_listed["english"]["Programming"]
    assert vue["folder"] == "teach me vue.js" and vue["name"] == "No Name"
    assert vue["description"] == "does things" and vue["author"] == "ParisNeo"
    assert vue["version"] == "1.0.0" and vue["has_scripts"] is False and vue["has_logo"] is True
    assert [entry["folder"] for entry in zoo_listed["english"]["art"]] == ["poet"]
    assert _digest(zoo) == before


def test_an_empty_zoo_is_an_empty_listing(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    with home(tmp_path / "home", personalities_path=str(tmp_path / "zoo")) as server:
        server.gateway()
        answer = run(ask(server, "list_available_personalities", reply="personalities_list"))
        assert answer == {"success": True, "personalities": {}}


def test_folders_that_are_not_there_fail_as_documented(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    with home(tmp_path / "home", personalities_path=gone, bindings_path=gone) as server:
        server.gateway()
        answer = run(ask(server, "list_available_personalities", reply="personalities_list"))
        assert answer["success"] is False and answer["personalities"] == {} and answer["error"]
        answer = run(ask(server, "list_available_bindings", reply="bindings_list"))
        assert answer["success"] is False and answer["bindings"] == [] and answer["error"]


def test_an_unknown_event_is_answered(server: Home) -> None:
    for event in ("nonsense", "__class__", "*", "disconnect", "connect", "message"):
        answer = run(ask(server, event, {"a": 1}, reply="error"))
        assert answer["success"] is False and answer["event"] == event and answer["error"]


def _digest(folder: Path) -> str:
    state = [
        (str(path.relative_to(folder)), path.read_bytes() if path.is_file() else b"",
         path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    ]  # fmt: skip
    return hashlib.sha256(repr(state).encode()).hexdigest()
