"""What the documentation says is true: tables come from the code, examples run as printed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.personality import from_config
from tests.contract.test_generation import ends_once, select
from tests.harness import ROOT, Home, client, home, run
from tests.node_client import node_modules
from tools.tables import written

README = (ROOT / "README.md").read_text()
BINDING = (ROOT / "docs" / "writing-a-binding.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    with home(folder, binding_name="echo", model_name="echo") as opened:
        opened.gateway()
        opened.worker("echo")
        opened.ready()
        yield opened


def test_tables_are_those_of_the_code() -> None:
    for path, text in written():
        assert path.read_text() == text, f"{path.name}: run `python -m tools.tables`"


def test_every_event_of_the_code_is_in_the_table_and_no_other() -> None:
    from gateway import events

    source = Path(events.__file__).read_text()
    known = set(re.findall(r'^            "(\w+)": \(', source, re.MULTILINE))
    known |= {"generate_text", "cancel_generation"}
    page = (ROOT / "docs" / "events.md").read_text().partition("## One generation")[0]
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == known


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_python_client_of_the_readme_works_as_printed(server: Home, tmp_path: Path) -> None:
    (program,) = blocks(README, "python")
    script = tmp_path / "client.py"
    script.write_text(program.replace("http://127.0.0.1:9601", server.url))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hello!\n[1 tokens]\n"


def test_the_javascript_client_of_the_readme_works_as_printed(server: Home, tmp_path: Path) -> None:
    modules = node_modules()
    if modules is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs node and npm")
        pytest.skip("node or npm is missing")
    (program,) = blocks(README, "js")
    script = tmp_path / "client.cjs"
    script.write_text(program.replace("http://127.0.0.1:9601", server.url))
    done = subprocess.run(
        ["node", script], capture_output=True, text=True, timeout=50, check=False,
        env={**os.environ, "NODE_PATH": str(modules)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Hello!\n[1 tokens]\n"


def test_the_binding_of_the_tutorial_works(tmp_path: Path) -> None:
    folder = tmp_path / "bindings" / "shout"
    folder.mkdir(parents=True)
    card, models = blocks(BINDING, "yaml")
    (folder / "__init__.py").write_text(blocks(BINDING, "python")[0])
    (folder / "binding_card.yaml").write_text(card)
    (folder / "models.yaml").write_text(models)
    assert blocks(BINDING, "python")[0].count("\n") <= 40

    async def scenario(server: Home) -> None:
        async with client(server) as connected:
            await select(connected, "shout", "calm")
            end = ends_once(await connected.generate("be quiet please"))
            assert end["text"] == "BE QUIET PLEASE "
            answer = await connected.ask(
                "select_model", {"model_name": "angry"}, reply="select_model"
            )
            assert answer["success"] is False

    with home(tmp_path / "home", bindings_path=str(folder.parent)) as server:
        server.gateway("--binding_name", "")
        server.worker("shout")
        run(scenario(server))


def test_the_personality_of_the_tutorial_is_one() -> None:
    (config,) = blocks((ROOT / "docs" / "writing-a-personality.md").read_text(), "yaml")
    personality, wrong = from_config(
        yaml.safe_load(config), path="english/hobbies/gardener", language="english",
        category="hobbies", folder="gardener",
    )  # fmt: skip
    assert not wrong and personality.name == "Gardener"
    assert personality.sampling["temperature"] == 0.3 and personality.anti_prompts == ("!@>",)


def test_the_commands_of_the_readme_are_in_the_makefile() -> None:
    rules = (ROOT / "Makefile").read_text()
    for command in set(re.findall(r"`?make (\w[\w-]*)", README)):
        assert re.search(rf"^{command}:", rules, re.MULTILINE), command
    assert shutil.which("make")
