"""A hostile zoo or binding card is listed without harm to the server."""

import asyncio
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.storage.test_untrusted_yaml import BOMB
from tests.support.harness import Home, client, run
from tests.support.zoos import add

SECRET = "what nobody outside may read"
FILES: dict[str, str | bytes] = {
    "bomb": BOMB, "merge bomb": "a: &x {b: c}\nd: {<<: *x}", "itself": "a: &a [*a]",
    "deep list": "[" * 100_000, "deep map": "{a: " * 50_000, "deep dash": "- " * 100_000,
    "question": "? " * 100_000, "256 kB": "a: " + "b" * 300_000,
    "50 MB": b"a: " + b"b" * 50_000_000,
    "apply": "name: !!python/object/apply:os.system [touch /tmp/owned]",
    "name": "name: !!python/name:os.system x", "new": "name: !!python/object/new:os.system [ls]",
    "module": "!!python/module:os", "tag": "name: !unknown x", "two": "a: 1\n---\nb: 2",
    "digits": "name: " + "9" * 5000, "bad int": "name: !!int abc", "bad date": "name: 2023-99-99",
    "list key": "[1]: 2", "map key": "{[a]: b}", "NUL": "name: \0", "tabs": "\tname: here",
    "empty": "", "null": "null", "scalar": "just a text", "list": "- a\n- b",
    "binary": b"\xff\xfe\0", "latin": b"name: caf\xe9", "bom": b"\xef\xbb\xbfname: x",
    "nan": "name: .nan\nversion: .inf", "bytes": "name: !!binary aGVsbG8=",
    "date": "name: 2023-08-01", "set": "name: !!set {a, b}", "long name": "name: " + "x" * 100_000,
    "control": 'name: "\\e[31m\\0\\r\\n"', "name list": "name: [a, b]", "name map": "name: {a: b}",
    "true": "name: yes", "1e999": "name: 1e999", "surrogate": 'name: "\\ud800"',
    "prompts": "anti_prompts: {a: b}", "temp": "model_temperature: hot",
    "many": "\n".join(f"k{n}: v" for n in range(20_000)),
    "html": "name: <script>alert(1)</script>",
}  # fmt: skip


def fill(folders: Path) -> None:
    """Add hostile files as personalities, cards and model lists; and links out of the folders."""
    outside = folders / "elsewhere"
    outside.mkdir()
    (outside / "config.yaml").write_text(f"name: {SECRET}")
    (outside / "binding_card.yaml").write_text(f"name: {SECRET}")
    (outside / "models.yaml").write_text(f"- filename: {SECRET}")
    zoo, bindings = folders / "zoo", folders / "bindings"
    for name, content in FILES.items():
        data = content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
        add(zoo, f"english/prepared/{name}", data)
        for file in ("binding_card.yaml", "models.yaml"):
            (bindings / f"x {name}").mkdir(exist_ok=True)
            (bindings / f"x {name}" / file).write_bytes(data)
    for place, names in (
        (zoo / "english" / "prepared", ["config.yaml"]),
        (bindings, ["binding_card.yaml", "models.yaml"]),
    ):
        (place / "linked").symlink_to(outside)
        (place / "loop").symlink_to(place / "loop")
        for kind in ("file link", "fifo", "folder", "device", "missing"):
            (place / kind).mkdir()
            for name in names:
                path = place / kind / name
                if kind == "file link":
                    path.symlink_to(outside / name)
                elif kind == "fifo":
                    os.mkfifo(path)
                elif kind == "folder":
                    path.mkdir()
                elif kind == "device":
                    path.symlink_to("/dev/zero")
    (zoo / "up").symlink_to("..")


@contextmanager
def prepared(folders: Path) -> Iterator[None]:
    """Hostile files during the block; afterwards the folders are restored."""
    kept = {name: folders / f"{name} kept" for name in ("zoo", "bindings")}
    for name, copy in kept.items():
        shutil.copytree(folders / name, copy)
    fill(folders)
    try:
        yield
    finally:
        for name, copy in kept.items():
            shutil.rmtree(folders / name)
            copy.rename(folders / name)


@pytest.mark.timeout(180)
def test_a_prepared_zoo_is_listed_without_harm(
    server: Home, folders: Path, block: Callable[..., Any]
) -> None:
    counts: Counter[str] = Counter()

    async def scenario() -> None:
        async with client(server) as connected:
            asked = [
                connected.sio.call(event, timeout=20)
                for event in ("list_available_personalities", "list_available_bindings")
            ]
            zoo, bindings = await asyncio.gather(*asked)
            listed = zoo["personalities"]["english"]["prepared"]
            counts["personalities listed"], counts["bindings listed"] = (
                len(listed),
                len(bindings["bindings"]),
            )
            said = json.dumps([zoo, bindings], allow_nan=False)
            assert SECRET not in said and str(folders) not in said and len(said) < 4_000_000
            for entry in listed:
                assert all(len(str(value)) <= 4000 for value in entry.values())
            for folder in [*FILES, "linked", "loop", "file link", "fifo", "folder", "device"]:
                path = {"path": f"english/prepared/{folder}"}
                answer = await connected.sio.call("add_personality", path, timeout=20)
                assert answer["success"] is (folder in {entry["folder"] for entry in listed})
                choice = {"binding_name": folder if folder in ("linked", "loop") else "file link"}
                refused = await connected.sio.call("select_binding", choice, timeout=20)
                assert refused["success"] is False
                counts["asked for"] += 1

    with prepared(folders), block("prepared zoo and cards", counts, changes=True):
        run(scenario(), 150)
        assert not Path("/tmp/owned").exists()
        counts["files"] = 3 * len(FILES)
