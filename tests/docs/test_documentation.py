"""The documentation is correct: tables come from the code, examples run as printed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from chat.__main__ import NOTICES
from gateway.config.command_line import markdown_table
from gateway.config.loading import load_settings
from gateway.personalities.personality import from_config
from gateway.scheduling.notices import (
    Continued,
    ModelStatus,
    Notice,
    Paused,
    PromptProgress,
    Queued,
)
from gateway.socketio import endpoints as events
from gateway.socketio.replies import notice_event
from protocol.codec import vocabulary
from protocol.errors import ErrorCode
from tests.server.contract.test_generation import ends_once, select
from tests.support.harness import ROOT, Home, client, home, names, run
from tests.support.node_client import required_node_modules
from tools.docs_tables import parameters, written

README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
EVENTS = (ROOT / "docs" / "events.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
BINDING = (ROOT / "docs" / "writing-a-binding.md").read_text()
PERSONALITY = (ROOT / "docs" / "writing-a-personality.md").read_text()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", params=["llama_cpp pebble-f16.gguf", "echo lorem"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    """The server of a new user, and the one of a load generator."""
    binding, model = request.param.split()
    with home(tmp_path_factory.mktemp("home"), binding_name=binding, model_name=model) as opened:
        opened.gateway()
        opened.worker(binding)
        opened.ready()
        yield opened


# Tables.


def test_tables_are_those_of_the_code() -> None:
    assert markdown_table() in SETTINGS and parameters() in EVENTS
    for path, text in written():
        assert path.read_text() == text, f"{path.name}: run `python -m tools.docs_tables`"


def test_every_event_of_the_code_is_in_the_table_with_its_reply_and_no_other() -> None:
    source = Path(events.__file__).read_text()
    known = dict(re.findall(r'^            "(\w+)": Route\(\s*"(\w+)"', source, re.MULTILINE))
    known |= {"generate_text": "text_chunk", "cancel_generation": "generation_canceled"}
    page = EVENTS.partition("## One generation")[0]
    rows = re.findall(r"^\| `(\w+)`[^|]* \| `(\w+)`", page, re.MULTILINE)
    assert dict(rows) == known and len(rows) == len(known)


def test_every_message_and_every_error_code_is_explained() -> None:
    for name in vocabulary().keys() - {"Sampling"}:
        assert re.search(rf"\b{name}\b", PROTOCOL), name
    codes = re.findall(r"^\| `(\w+)` \|", PROTOCOL, re.MULTILINE)
    assert codes == [str(code) for code in ErrorCode]


def test_no_field_of_an_event_is_left_out(server: Home) -> None:
    async def scenario() -> None:
        async with client(server) as connected:
            long = {"ignore_eos": True, "logprobs": 1}
            told = await connected.generate("Once", n_predicts=3, parameters=long)
            told += await connected.generate("Once", parameters={"top_p": 2})
            for _ in range(2):
                await connected.emit("generate_text", {"prompt": "Once", "parameters": long})
            await connected.emit("cancel_generation")
            told += await connected.until("buzzy")
            told += await connected.until("generation_canceled")
            told += await connected.until("text_generated")
        assert {*names(told)} == {
            "text_chunk", "text_generated", "generation_error", "buzzy", "generation_canceled",
        }  # fmt: skip
        for name, data in told:
            described = " ".join(re.findall(rf"`{name}` {{([^}}]*)}}", EVENTS))
            assert set(data) <= set(re.findall(r"\w+", described)), name

    run(scenario())


def test_every_notice_of_the_code_is_in_its_table_with_its_fields_and_no_other() -> None:
    samples: list[Notice] = [
        Queued(1, 1, "", 1.0), ModelStatus("b", "m", "failed", 0.5, "why"),
        PromptProgress(1, 1, 0), Paused(""), Continued(""),
    ]  # fmt: skip
    assert {type(sample) for sample in samples} == {*get_args(Notice)}
    section = EVENTS.partition("## Events for who waits")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` {([^}]*)}", section, re.MULTILINE))
    sent = dict(notice_event("id", sample) for sample in samples)
    assert {name: re.findall(r"\w+", fields) for name, fields in rows.items()} == {
        name: [*data] for name, data in sent.items()
    }
    assert [*rows] == [*NOTICES]


def test_the_configuration_examples_are_understood(tmp_path: Path) -> None:
    (example,), (breaking,) = blocks(SETTINGS, "yaml"), blocks(OPERATIONS, "yaml")
    (tmp_path / "config.yaml").write_text(breaking)
    settings = load_settings(["--home", str(tmp_path)], {})
    assert list(settings.bindings) == ["faulty"] and settings.memory_limit("faulty") == 512
    (tmp_path / "config.yaml").write_text(example)
    settings = load_settings(["--home", str(tmp_path)], {})
    assert settings.port == 9700 and settings.memory_limit("llama_cpp") == 8000
    assert settings.binding_options("llama_cpp") == {"n_ctx": 4096, "n_gpu_layers": 20}
    assert settings.keep_alive_of("llama_cpp", "pebble-f16.gguf") == 0


def test_the_page_for_operators_lists_every_metric_and_no_other(server: Home) -> None:
    exported = re.findall(r"^# HELP (\w+)", server.http("/metrics")[1], re.MULTILINE)
    table = OPERATIONS.partition("\nMetrics:\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"`(lollms_\w+)", table)) == sorted(exported) != []


# Links and commands.


def test_the_readme_has_fewer_than_200_lines() -> None:
    assert README.count("\n") < 200


def test_links_lead_somewhere_and_every_page_is_in_the_index() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        path = str(page.relative_to(ROOT / "docs"))
        assert path == "README.md" or f"({path})" in index, path


def test_the_commands_of_the_documentation_are_in_the_makefile() -> None:
    rules = (ROOT / "Makefile").read_text()
    told = re.compile(r"(?:`|^)(?:\w+=\S+ )*make (\w[\w-]*)", re.MULTILINE)
    for page in PAGES:
        for command in told.findall(page.read_text()):
            assert re.search(rf"^{command}:", rules, re.MULTILINE), f"{page.name}: make {command}"


# Examples.


def printed(server: Home, program: str, *command: str, **environment: str) -> str:
    """Run an example unchanged except for the port; return its output."""
    assert program.count("http://127.0.0.1:9601") == 1
    script = server.folder / "example.cjs"
    script.write_text(program.replace("http://127.0.0.1:9601", server.url))
    done = subprocess.run(
        [*command, script], env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_an_answer(output: str) -> bool:
    text, _, tokens = output.rpartition("\n[")
    return len(text.split()) > 2 and re.fullmatch(r"[1-9]\d* tokens\]\n", tokens) is not None


def test_the_python_client_of_the_readme_works_as_printed(server: Home) -> None:
    (program,) = blocks(README, "python")
    output = printed(server, program, sys.executable)
    assert is_an_answer(output), output


@pytest.mark.timeout(400)  # the very first run installs the client
def test_the_javascript_client_of_the_readme_works_as_printed(server: Home) -> None:
    (program,) = blocks(README, "js")
    output = printed(server, program, "node", NODE_PATH=str(required_node_modules()))
    assert is_an_answer(output), output


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
    place: dict[str, Any] = {"language": "english", "category": "hobbies", "folder": "gardener"}
    (config,) = blocks(PERSONALITY, "yaml")
    personality, wrong = from_config(
        yaml.safe_load(config), path="english/hobbies/gardener", **place
    )
    assert not wrong and personality.name == "Gardener"
    assert personality.sampling["temperature"] == 0.3 and personality.anti_prompts == ("!@>",)


@pytest.mark.parametrize("page", ["threat-model", "faults"])
def test_what_a_page_says_is_shown_by_the_tests_that_it_names(page: str) -> None:
    named = re.findall(
        r"`([\w/]*test_\w+\.py)(?:::([^`]+))?`", (ROOT / "docs" / f"{page}.md").read_text()
    )
    assert len(named) > 30
    for file, sentence in named:
        words = sentence.replace(" ", "_")
        assert re.search(rf"def test_\w*{words}", (ROOT / "tests" / file).read_text()), sentence
