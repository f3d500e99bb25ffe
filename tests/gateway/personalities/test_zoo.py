"""Is the zoo listed as it is, at once, and is nothing outside it reached?"""

import asyncio
import json
import logging
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import PersonalityNotFound
from gateway.personalities.zoo import Zoo
from gateway.validation import shown
from protocol.sampling import Sampling
from tests.support.zoos import CONFIG, add, digest, settle

ENTRY = {
    "folder": "teach me vue.js",
    "name": "teach me vue.js",
    "description": "Does things.\n",
    "author": "somebody",
    "version": "1.0",
    "has_scripts": False,
    "has_logo": True,
    "avatar": "/personalities/english/code/teach%20me%20vue.js/assets/logo.png",
}


def test_a_zoo_with_languages(tmp_path: Path) -> None:
    add(tmp_path, "english/code/teach me vue.js", logo="logo.png")
    add(tmp_path, "english/art/dr. owl")
    add(tmp_path, "français/art/poète")
    zoo = Zoo(tmp_path)

    async def scenario() -> None:
        listing = await zoo.listing()
        assert {language: list(found) for language, found in listing.items()} == {
            "english": ["art", "code"],
            "français": ["art"],
        }
        assert listing["english"]["code"] == [ENTRY]
        json.dumps(listing, allow_nan=False)
        assert await zoo.languages() == ["english", "français"]
        assert await zoo.categories() == ["art", "code"]
        assert await zoo.categories("français") == ["art"]
        assert await zoo.names("english", "art") == ["dr. owl"]
        assert await zoo.names(None, "art") == ["dr. owl", "poète"]
        for nowhere in ("klingon", "..", "", "english/art"):
            with pytest.raises(PersonalityNotFound):
                await zoo.categories(nowhere)
            with pytest.raises(PersonalityNotFound):
                await zoo.names("english", nowhere)

    asyncio.run(scenario())


def test_a_zoo_without_languages_is_wrapped_as_english(tmp_path: Path) -> None:
    folder = add(tmp_path, "code/teach me vue.js", logo="logo.png")
    add(tmp_path, "code/teach me vue.js/scripts/nested", "name: not a personality")
    (folder / "scripts" / "config.yaml").write_text("not: one either")
    (tmp_path / "README.md").write_text("# Zoo")
    (tmp_path / ".git" / "a").mkdir(parents=True)
    zoo = Zoo(tmp_path)

    async def scenario() -> None:
        avatar = "/personalities/code/teach%20me%20vue.js/assets/logo.png"
        entry = {**ENTRY, "has_scripts": True, "avatar": avatar}
        assert await zoo.listing() == {"english": {"code": [entry]}}
        # By the zoo's own path, and by the one that the listing suggests: it is the same one.
        own = await zoo.get("code/teach me vue.js")
        assert await zoo.get("english/code/teach me vue.js") is own
        assert own.path == "code/teach me vue.js" and own.language == "english"

    asyncio.run(scenario())


def test_both_layouts_in_one_zoo(tmp_path: Path) -> None:
    add(tmp_path, "art/poet", CONFIG.format(name="Top"))
    add(tmp_path, "english/art/poet", CONFIG.format(name="Below"))

    async def scenario() -> None:
        zoo = Zoo(tmp_path)
        listing = await zoo.listing()
        assert sorted(e["name"] for e in listing["english"]["art"]) == ["Below", "Top"]
        assert await zoo.names("english", "art") == ["poet"]
        assert (await zoo.get("english/art/poet")).name == "Below"
        assert (await zoo.get("art/poet")).name == "Top"

    asyncio.run(scenario())


def test_the_defaults_are_the_contract_s(tmp_path: Path) -> None:
    add(tmp_path, "a/b", "category: x")
    zoo = Zoo(tmp_path)
    (entry,) = asyncio.run(zoo.listing())["english"]["a"]
    assert entry == {
        "folder": "b", "name": "No Name", "description": "", "author": "ParisNeo",
        "version": "1.0.0", "has_scripts": False, "has_logo": False, "avatar": "",
    }  # fmt: skip
    personality = asyncio.run(zoo.get("a/b"))
    assert personality.sampling == {} and personality.n_predict is None
    assert personality.anti_prompts == ("## Human:",)


def test_what_a_file_says_of_sampling_is_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(tmp_path, "a/good")
    add(
        tmp_path, "a/odd",
        "model_temperature: '0.5'\nmodel_top_k: 40.0\nmodel_top_p: 7\nmodel_repeat_penalty: x\n"
        "model_repeat_last_n: true\nmodel_n_predicts: -5\nanti_prompts: stop\nname: [a]\n",
    )  # fmt: skip
    zoo = Zoo(tmp_path)
    good, odd = asyncio.run(zoo.get("a/good")), asyncio.run(zoo.get("a/odd"))
    assert good.sampling == {"temperature": 0.6, "top_k": 50} and good.n_predict == 8192
    assert good.anti_prompts == ("!@>",)
    assert odd.sampling == {"temperature": 0.5, "top_k": 40} and odd.n_predict is None
    assert odd.anti_prompts == ("stop",) and odd.name == "No Name"
    assert Sampling(**odd.sampling).top_k == 40
    assert {r.levelname for r in caplog.records} == {"WARNING"}
    assert all(f"model_{name}" in caplog.text for name in ("top_p", "n_predicts"))


@pytest.mark.parametrize(
    ("logos", "first"),
    [
        (["logo.bmp", "logo.jpeg", "logo.jpg"], "logo.jpg"),
        (["logo.png", "logo.webp", "logo.gif"], "logo.gif"),
        (["logo.svg", "logo.PNG", "picture.png"], ""),
    ],
)
def test_the_avatar_is_the_first_logo_there_is(
    tmp_path: Path, logos: list[str], first: str
) -> None:
    for logo in logos:
        add(tmp_path, "a/b", logo=logo)
    entry = asyncio.run(Zoo(tmp_path).listing())["english"]["a"][0]
    assert entry["avatar"] == (f"/personalities/a/b/assets/{first}" if first else "")
    assert entry["has_logo"] is bool(first)


def test_unreadable_ones_are_skipped_with_one_warning_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = add(tmp_path / "outside", "a/secret")
    zoo_path = tmp_path / "zoo"
    add(zoo_path, "a/good")
    add(zoo_path, "a/broken", "a: [1")
    add(zoo_path, "a/bomb", "a: &a [x]\nb: *a")
    add(zoo_path, "a/scalar", "just text")
    add(zoo_path, "a/empty", "")
    add(zoo_path, "a/long", "name: " + "x" * 300_000)
    add(zoo_path, "a/fifo").joinpath("config.yaml").unlink()
    os.mkfifo(zoo_path / "a/fifo/config.yaml")
    (add(zoo_path, "a/folder") / "config.yaml").unlink()
    (zoo_path / "a/folder/config.yaml").mkdir()
    (zoo_path / "a" / "linked").symlink_to(outside)
    (zoo_path / "linked").symlink_to(outside.parent)
    (add(zoo_path, "a/config") / "config.yaml").unlink()
    (zoo_path / "a/config/config.yaml").symlink_to(outside / "config.yaml")
    (zoo_path / "a" / "loop").symlink_to("loop")
    (zoo_path / "a" / "up").symlink_to(zoo_path)
    add(zoo_path, "a/back\\slash")
    add(zoo_path, os.fsdecode(b"a/not\xffutf8"))
    settle(tmp_path)

    async def scenario() -> None:
        zoo = Zoo(zoo_path)
        for _ in range(3):
            listing = await zoo.listing()
            assert [entry["folder"] for entry in listing["english"]["a"]] == ["good"]
            assert list(listing) == ["english"]
            json.dumps(listing).encode()

    asyncio.run(asyncio.wait_for(scenario(), 20))
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == len(set(warned)) == 13, warned
    assert not any("\n" in text for text in warned)


def test_what_does_not_exist_and_what_is_outside_are_told_the_same(tmp_path: Path) -> None:
    add(tmp_path / "zoo", "a/b")
    add(tmp_path, "outside/b")
    (tmp_path / "zoo" / "link").symlink_to(tmp_path / "outside")
    zoo = Zoo(tmp_path / "zoo")

    def told(path: str) -> str:
        with pytest.raises(PersonalityNotFound) as caught:
            asyncio.run(zoo.get(path))
        return str(caught.value).replace(shown(path), "PATH")

    expected = told("no/where")
    for path in (
        "../outside/b", "link/b", str(tmp_path / "outside" / "b"), "a/../a/b", "a/b/", "/a/b",
        "a//b", "./a/b", "a\\b", "%2e%2e/outside/b", "....//outside/b", "a/b.", "a", "", "a/b\0",
        "A/B", "english/a/b/config.yaml", "a/b/config.yaml",
    ):  # fmt: skip
        assert told(path) == expected, path
    assert len(told("x" * 100_000)) < 200


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.text()
    | st.lists(st.sampled_from(["..", ".", "", "a", "b", "english", "~", "\0"])).map("/".join)
)
def test_no_path_but_the_listed_ones_finds_anything(tmp_path: Path, path: str) -> None:
    add(tmp_path / "zoo", "a/b")
    zoo = Zoo(tmp_path / "zoo")
    try:
        found = asyncio.run(zoo.get(path))
    except PersonalityNotFound:
        assert path not in ("a/b", "english/a/b")
    else:
        assert path in ("a/b", "english/a/b") and found.path == "a/b"


def test_changes_are_seen_and_nothing_is_written(tmp_path: Path) -> None:
    add(tmp_path, "a/b", logo="logo.png")
    add(tmp_path, "a/c")

    async def scenario() -> None:
        zoo = Zoo(tmp_path)

        async def folders() -> list[str]:
            return [entry["folder"] for entry in (await zoo.listing())["english"]["a"]]

        async def changed(change: Callable[[], object]) -> None:
            # Once when all is long settled, and at once again, in the same tick of the clock.
            settle(tmp_path)
            await zoo.listing()
            change()

        assert await folders() == ["b", "c"]
        await changed(lambda: add(tmp_path, "a/d"))
        assert await folders() == ["b", "c", "d"]
        await changed(lambda: add(tmp_path, "a/b", CONFIG.format(name="renamed"), "logo.png"))
        assert (await zoo.get("a/b")).name == "renamed"
        for number in range(20):
            add(tmp_path, "a/b", CONFIG.format(name=f"name {number:03}"), "logo.png")
            assert (await zoo.get("a/b")).name == f"name {number:03}"
            assert (await zoo.listing())["english"]["a"][0]["name"] == f"name {number:03}"
        await changed(lambda: (tmp_path / "a/b/assets/logo.png").unlink())
        assert (await zoo.get("a/b")).avatar == ""
        await changed(lambda: (tmp_path / "a/b/scripts").mkdir())
        assert (await zoo.get("a/b")).has_scripts
        await changed(lambda: shutil.rmtree(tmp_path / "a/c"))
        assert await folders() == ["b", "d"]
        with pytest.raises(PersonalityNotFound):
            await zoo.get("a/c")
        await changed(lambda: (tmp_path / "a/d").rename(tmp_path / "a/e"))
        assert await folders() == ["b", "e"]
        settle(tmp_path)
        before = digest(tmp_path)
        await zoo.listing()
        await zoo.get("a/e")
        assert digest(tmp_path) == before

    asyncio.run(scenario())


def test_a_zoo_that_is_not_there_is_told_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    zoo = Zoo(tmp_path / "zoo")
    with pytest.raises(PersonalityNotFound):
        asyncio.run(zoo.listing())
    (tmp_path / "zoo").mkdir()
    assert asyncio.run(zoo.listing()) == {}
    assert asyncio.run(zoo.categories()) == []


def test_three_hundred_are_listed_quickly_and_never_on_the_event_loop(tmp_path: Path) -> None:
    for number in range(300):
        add(tmp_path, f"language{number % 3}/category{number % 30}/p {number}", logo="logo.png")
    settle(tmp_path)

    async def scenario() -> None:
        zoo = Zoo(tmp_path)
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0)
                beats += 1

        beating = asyncio.create_task(beat())
        first = time.perf_counter()
        listing = await zoo.listing()
        first = time.perf_counter() - first
        beating.cancel()
        assert sum(len(c) for found in listing.values() for c in found.values()) == 300
        assert beats > 10  # a scan on the loop would have let it run twice
        again = []
        for _ in range(9):
            began = time.perf_counter()
            assert await zoo.listing() is listing
            again.append(time.perf_counter() - began)
        assert statistics.median(again) < first / 4
        # Those who ask at the same time share a look.
        began = time.perf_counter()
        await asyncio.gather(*(zoo.listing() for _ in range(100)))
        assert time.perf_counter() - began < 20 * max(again)

    asyncio.run(scenario())


def test_the_shipped_zoo_is_read_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    zoo = Zoo(Path(__file__).parents[3] / "personalities")
    listing = asyncio.run(zoo.listing())
    assert "english" in listing and not caplog.records, caplog.text
    assert logging.getLogger("gateway.personalities.zoo").isEnabledFor(logging.WARNING)
