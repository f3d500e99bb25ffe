"""A model that only a joined machine has is listed with it, selected, and serves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.security.test_remote_workers import Inviting
from tests.support.harness import chunks, client, home, run

READER = '''
from worker.binding import Binding, Piece


class Reader(Binding):
    """Answers with what its model's file says."""

    def load(self, model):
        model.progress(0.5)
        self.text = model.path.read_text()

    def generate(self, request):
        yield Piece(self.text)


binding = Reader
'''


@pytest.fixture
def bindings(tmp_path: Path) -> Path:
    folder = tmp_path / "bindings" / "reader"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(READER)
    (folder / "binding_card.yaml").write_text("name: reader\nextensions: [.said]\n")
    return folder.parent


@pytest.fixture
def inviting(tmp_path: Path, bindings: Path) -> Iterator[Inviting]:
    with home(tmp_path / "home", bindings_path=str(bindings), binding_name="reader") as server:
        yield Inviting(server)


def models_in(folder: Path, **texts: str) -> None:
    (folder / "models" / "reader").mkdir(parents=True)
    for name, text in texts.items():
        (folder / "models" / "reader" / f"{name}.said").write_text(text)


def test_a_model_of_a_joined_machine_is_listed_selected_and_serves(
    inviting: Inviting, bindings: Path, tmp_path: Path
) -> None:
    models_in(tmp_path / "home", here="from here")
    models_in(tmp_path / "elsewhere", far="from far away", here="from far away, too")
    inviting.worker(
        tmp_path / "elsewhere", binding="reader", flags=("--bindings_path", str(bindings))
    )

    async def scenario() -> None:
        async with client(inviting.server) as one:
            selected: Any = await one.ask(
                "select_binding", {"binding_name": "reader"}, reply="select_binding"
            )
            assert selected["success"], selected
            listed = await one.ask("list_available_models", reply="available_models_list")
            models = {model["title"]: model for model in listed["available_models"]}
            assert list(models) == ["far.said", "here.said"]
            assert len(models["far.said"]["on"]) == 1 and models["far.said"]["isInstalled"]
            assert models["far.said"]["filesize"] == len("from far away")
            assert "on" not in models["here.said"]
            selected = await one.ask(
                "select_model", {"model_name": "far.said"}, reply="select_model"
            )
            assert selected["success"], selected
            assert chunks(await one.generate("say it")) == "from far away"
            refused = await one.ask("select_model", {"model_name": "no.said"}, reply="select_model")
            assert not refused["success"] and "no model named" in refused["error"]

    run(scenario())
